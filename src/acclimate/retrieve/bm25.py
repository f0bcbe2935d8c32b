"""BM25 through bm25s, with stop words and stemming of a language.

k1 = 0.9 and b = 0.4 are Anserini's, the field's usual baseline. An analyzer that leaves a document empty, as one for
Latin scripts does with others, is reported rather than passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bm25s
import numpy as np
import Stemmer

from acclimate.errors import unknown
from acclimate.files import fingerprint, read_json, write_json
from acclimate.retrieve.languages import LANGUAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


class BM25:
    """An index over a corpus; `scores` rates every document for one query."""

    def __init__(self, index: bm25s.BM25, language: str) -> None:
        self.index = index
        self.language = language

    @classmethod
    def build(cls, texts: Iterable[str], *, language: str = "en", k1: float = 0.9, b: float = 0.4) -> BM25:
        """Index texts, row i for the i-th. Raises SettingError for an unknown language."""
        if language not in LANGUAGES:
            raise unknown("language", language, LANGUAGES)
        tokens = _tokenize(list(texts), language)
        empty = sum(not words for words in tokens)
        if empty:
            logger.warning("BM25 finds no words in %d of %d documents (language %r)", empty, len(tokens), language)
        index = bm25s.BM25(k1=k1, b=b)
        tokens = [words or [""] for words in tokens]
        # bm25s numbers words as they come out of a set, in another order in each process.
        vocabulary = {word: at for at, word in enumerate(sorted({word for words in tokens for word in words}))}
        index.index(([[vocabulary[word] for word in words] for words in tokens], vocabulary), show_progress=False)
        return cls(index, language)

    @classmethod
    def open(cls, folder: Path) -> BM25:
        """The index that `save` wrote."""
        return cls(bm25s.BM25.load(str(folder), load_corpus=False), read_json(folder / "language.json"))

    def save(self, folder: Path) -> None:
        """Write the index to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.index.save(str(folder), show_progress=False)
        write_json(folder / "language.json", self.language)

    @property
    def fingerprint(self) -> str:
        return fingerprint("bm25", self.language, self.index.k1, self.index.b)

    def scores(self, text: str) -> NDArray[np.float32]:
        """(n_docs,) BM25 scores of one query; all 0 when no word of it is in the index."""
        words = [word for word in _tokenize([text], self.language)[0] if word in self.index.vocab_dict]
        if not words:
            return np.zeros(self.index.scores["num_docs"], dtype=np.float32)
        return self.index.get_scores(words)


def _tokenize(texts: list[str], language: str) -> list[list[str]]:
    stop_words, stemmer = LANGUAGES[language]
    stem: Any = Stemmer.Stemmer(stemmer) if stemmer else None
    words: Any = bm25s.tokenize(texts, stopwords=stop_words or [], stemmer=stem, return_ids=False, show_progress=False)
    return words
