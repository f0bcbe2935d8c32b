"""What a sample of the documents shows before they are encoded: language, markup, and how much of them is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from acclimate.base.words import length_of
from acclimate.corpus.documents import ids_of
from acclimate.corpus.language import DETECTABLE, english_name, language_of_most
from acclimate.records import Doc

_LETTERS_PER_TOKEN = 4.5  # rough, for encoders
_LOOKED_AT = 200  # documents sampled over the corpus
_BEGINNING = 2000  # characters of each, for its language and markup
_END_TAG = re.compile(r"</[a-z][a-z0-9]*>|<br ?/?>", re.IGNORECASE)
_FEW_TAGS = 3  # a text with fewer may be about HTML, unless it has a paragraph
_PARAGRAPH = re.compile(r"<p(?:\s[^<>]*)?>[^<].*?</p>", re.DOTALL | re.IGNORECASE)
_LITTLE = 2 / 3  # of a document: with .52, passages gain .1 for a dense retriever; with .8, .02 (docs/log.md)
_PASSAGE_WORDS = 150  # about 200 tokens of English prose


def token_count(text: str) -> float:
    """Rough number of an encoder's tokens in a text."""
    return length_of(text) / _LETTERS_PER_TOKEN


def warnings(corpus: Mapping[str, Doc], language: str, encoder: str, max_tokens: int) -> list[str]:
    """Warnings about the texts, and about what an encoder that reads `max_tokens` of each does not read."""
    texts = _sample(corpus)
    return [
        *_language_warnings(texts, language, encoder),
        *_tags_warning(texts),
        *_truncation_warning(texts, max_tokens),
    ]


def passage_words(corpus: Mapping[str, Doc], max_tokens: int) -> int:
    """The words of a passage if an encoder reads little of the average document, else 0 for whole documents."""
    return _PASSAGE_WORDS if _share_read(_sample(corpus), max_tokens) < _LITTLE else 0


def _sample(corpus: Mapping[str, Doc]) -> list[str]:
    doc_ids = ids_of(corpus)[:: max(1, len(corpus) // _LOOKED_AT)]
    return [corpus[doc_id].default_text() for doc_id in doc_ids]


def _share_read(texts: Sequence[str], max_tokens: int) -> float:
    """The share of a text that an encoder reads, averaged over texts, as a few long ones may be most of all text."""
    shares = (min(1.0, max_tokens / max(1.0, token_count(text))) for text in texts)
    return sum(shares) / len(texts) if texts else 1.0


def _language_warnings(texts: Sequence[str], language: str, encoder: str) -> Iterator[str]:
    """Warnings if most documents are in another language than the one BM25 stems, or than the encoder's."""
    seems = language_of_most(text[:_BEGINNING] for text in texts)
    if language in DETECTABLE and seems not in (None, language):
        yield (
            f"Most documents look like {english_name(seems)}, and BM25 stems them as index.language={language} does; "
            f"to change that: --set index.language={seems}."
        )
    if encoder.startswith("embedded:") and (seems or language) not in ("en", "none"):
        yield (
            f"The embedded models are English, the documents {english_name(seems or language)}. Set an encoder that "
            "reads it, --set distill.base=MODEL, and an LLM that writes it, --set generate.llm=MODEL "
            "(docs/how-to/languages.md)."
        )


def _tags_warning(texts: Sequence[str]) -> Iterator[str]:
    """A warning if most documents are HTML, as exports of help desks and shops are."""
    beginnings = [text[:_BEGINNING] for text in texts]
    tagged = sum(bool(_PARAGRAPH.search(text)) or len(_END_TAG.findall(text)) >= _FEW_TAGS for text in beginnings)
    if 2 * tagged > len(texts):
        yield (
            "Most documents contain HTML tags, which are searched and shown like words. Give texts without tags, or a "
            "folder with each document in a file of its own that ends in .html, of which only the text is read."
        )


def _truncation_warning(texts: Sequence[str], max_tokens: int) -> Iterator[str]:
    """A warning if the encoder reads little of the average document."""
    share = _share_read(texts, max_tokens)
    if share < _LITTLE:
        yield (
            f"The encoder reads {max_tokens} tokens of each document, on average about {share:.0%} of it; the rest is "
            f"found by BM25 alone. To split documents: --set index.passage_words={_PASSAGE_WORDS} "
            "(docs/how-to/long-documents.md)."
        )
