"""The rerankers that `train` left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.corpus.documents import Corpus
from acclimate.records import Scorer


@dataclass(frozen=True)
class Trained:
    """Rerankers in a folder."""

    folder: Path
    notes: Mapping[str, Any]  # of the stage
    corpus: Corpus
    max_tokens: int  # of a query and a document

    def rerankers(self) -> dict[str, Scorer]:
        """By name, or the one that they were merged into. Each is loaded when it is first asked."""
        from acclimate.search import scorers

        merged = self.notes.get("merged")
        names = [merged["name"]] if merged else [note["name"] for note in self.notes["rerankers"]]
        return {name: scorers.load(self.folder / name, self.corpus, max_tokens=self.max_tokens) for name in names}

    def reranker(self) -> Scorer:
        """As one: several rerankers rate together."""
        from acclimate.search.scorers.ensemble import Ensemble

        found = self.rerankers()
        return next(iter(found.values())) if len(found) == 1 else Ensemble(found)
