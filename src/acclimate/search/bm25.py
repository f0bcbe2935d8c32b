"""BM25 through bm25s.

k1 = 0.9 and b = 0.4 are Anserini's, the field's usual baseline.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.base.files import read_json, write_json
from acclimate.corpus.analyzer import Analyzer, bm25s

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BM25:
    """An index over a corpus; `scores` rates every document for one query."""

    def __init__(self, index: Any, analyzer: Analyzer, without_terms: int = 0) -> None:
        """without_terms: documents in which the analyzer found nothing; not kept by `save`."""
        self.index = index
        self.analyzer = analyzer
        self.without_terms = without_terms

    @classmethod
    def build(cls, texts: Iterable[str], *, language: str = "en", k1: float = 0.9, b: float = 0.4) -> BM25:
        """Index texts, row i for the i-th. Raises SettingError for an unknown language."""
        analyzer = Analyzer(language)
        vocabulary: dict[str, int] = {}
        rows = [[vocabulary.setdefault(term, len(vocabulary)) for term in analyzer(text)] for text in texts]
        empty = [row for row in rows if not row]
        for row in empty:  # bm25s wants a term in each
            row.append(vocabulary.setdefault("", len(vocabulary)))
        index = bm25s().BM25(k1=k1, b=b)
        index.index((rows, vocabulary), show_progress=False)
        return cls(index, analyzer, len(empty))

    @classmethod
    def open(cls, folder: Path) -> BM25:
        """The index that `save` wrote."""
        return cls(bm25s().BM25.load(str(folder), load_corpus=False), Analyzer(read_json(folder / "language.json")))

    def save(self, folder: Path) -> None:
        """Write the index to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.index.save(str(folder), show_progress=False)
        write_json(folder / "language.json", self.analyzer.language)

    @property
    def fingerprint(self) -> str:
        return fingerprint("bm25", self.analyzer.language, self.index.k1, self.index.b)

    def scores(self, text: str) -> NDArray[np.float32]:
        """(n_docs,) BM25 scores of one query; all 0 when no term of it is in the index."""
        terms = [term for term in self.analyzer(text) if term in self.index.vocab_dict]
        if not terms:
            return np.zeros(self.index.scores["num_docs"], dtype=np.float32)
        return self.index.get_scores(terms)
