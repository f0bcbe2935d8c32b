"""What the unadapted retrievers need: a BM25 index, and the base encoder's vectors of every document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from acclimate.base.domains import AtLeast, Between, OneOf
from acclimate.corpus.analyzer import LANGUAGES
from acclimate.corpus.language import TOLD, language_of_most
from acclimate.records import Doc
from acclimate.run.settings import checked

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder

_LOOKED_AT = 200  # documents, spread over the corpus, for the language that they are in
_BEGINNING = 2000  # characters of each


@checked
def index(
    corpus: Mapping[str, Doc],
    encoder: Encoder,
    folder: Path,
    *,
    language: Annotated[str, OneOf(LANGUAGES)] = "en",
    k1: Annotated[float, Between(0, 100)] = 0.9,
    b: Annotated[float, Between(0, 1)] = 0.4,
    max_tokens: Annotated[int, Between(8, 1_000_000)] = 256,
    query_prompt: str = "auto",
    document_prompt: str = "auto",
    passage_words: Annotated[int, AtLeast(0)] = 0,
    passage_overlap: Annotated[int, AtLeast(0)] = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Write `folder/bm25` and `folder/vectors`; what BM25 will not find, in words. An interrupted encoding goes on.

    `corpus` is already split where passages are asked for: all later stages read the same one.

    Parameters
    ----------
    language
        Language of the documents, whose stop words and stemming BM25 uses; none uses neither.
    k1
        BM25's term frequency saturation.
    b
        BM25's length normalization.
    max_tokens
        Tokens of a document that encoders read; what lies behind is cut.
    query_prompt
        What the encoder is given before a query, such as "query: "; auto: the prompt that the model brings, if any.
    document_prompt
        The same before a document.
    passage_words
        Split documents longer than this many words into passages of at most so many; 0 leaves documents whole.
    passage_overlap
        Words that a passage repeats of the one before it.
    """
    from acclimate.search.bm25 import BM25
    from acclimate.search.vectors import encode_corpus

    bm25 = BM25.build((doc.default_text() for doc in corpus.values()), language=language, k1=k1, b=b)
    bm25.save(folder / "bm25")
    assert encoder.max_tokens <= max_tokens
    encode_corpus(encoder, corpus, folder / "vectors", key=encoder.fingerprint, progress=progress)
    return [*_without_terms(bm25.without_terms, len(corpus)), *_of_another_language(corpus, language)]


def _without_terms(count: int, of: int) -> Iterator[str]:
    if count:
        yield (
            f"BM25 finds no words in {count:,} of {of:,} documents, so it never finds them: they have no letters or "
            "digits, or nothing but stop words of index.language."
        )


def _of_another_language(corpus: Mapping[str, Doc], language: str) -> Iterator[str]:
    """A warning where most documents are in another language than the one that BM25 stems."""
    some = islice(corpus.values(), 0, None, max(1, len(corpus) // _LOOKED_AT))
    found = language_of_most(doc.default_text()[:_BEGINNING] for doc in some) if language in TOLD else None
    if found not in (None, language):
        yield (
            f"Most documents look like {found}, and BM25 stems them as index.language={language} does; "
            f"to change that: --set index.language={found}."
        )
