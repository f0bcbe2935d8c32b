"""What the unadapted retrievers need: a BM25 index, and the base encoder's vectors of every document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from acclimate.domains import AtLeast, Between, OneOf
from acclimate.records import Doc
from acclimate.retrieve.languages import LANGUAGES
from acclimate.settings import checked

if TYPE_CHECKING:
    from acclimate.retrieve.encoder import Encoder


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
) -> None:
    """Write `folder/bm25` and `folder/vectors`. An interrupted encoding goes on where it was.

    `corpus` is already split where passages are asked for: all later stages read the same one.

    Parameters
    ----------
    language
        Stop words and stemming of BM25: en, de, fr, es, it, nl, pt, ru, sv, no, or none.
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
    from acclimate.retrieve.bm25 import BM25
    from acclimate.retrieve.vectors import encode_corpus

    BM25.build((doc.default_text() for doc in corpus.values()), language=language, k1=k1, b=b).save(folder / "bm25")
    assert encoder.max_tokens <= max_tokens
    encode_corpus(encoder, corpus, folder / "vectors", key=encoder.fingerprint, progress=progress)
