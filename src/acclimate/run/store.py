"""Caches in a run's folder: LLM answers (which cost money), candidates and scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.base.digests import fingerprint
from acclimate.base.errors import AcclimateError, BatchWritten
from acclimate.llm.completions import Completions
from acclimate.llm.prices import Budget
from acclimate.llm.usage import Ledger
from acclimate.run.output import StageOutput
from acclimate.search.value_cache import ValueCache

COMPLETIONS, CANDIDATES, SCORES = "completions.sqlite", "candidates.sqlite", "scores.sqlite"


@dataclass(frozen=True)
class Store:
    """The cached answers, candidates and scores of one run."""

    folder: Path
    budget: Budget
    batch_file: Path | None = None  # collects requests instead of sending them

    @contextmanager
    def completions(self, stage: str) -> Iterator[Completions]:
        """The answer cache of a stage, which calls LLMs within the budget.

        Raises BatchWritten if missing answers were requested in a batch file instead.
        """
        if self.batch_file is not None:
            from acclimate.llm.batches import BatchedCompletions

            with BatchedCompletions(self.folder / COMPLETIONS, stage) as batched:
                batched.guard = lambda left: self.budget.check(batched.ledger(), stage, left)
                try:
                    yield batched
                except AcclimateError:  # expected, as a stage may fail without the answers that are still missing
                    if not batched.requests:
                        raise
                if batched.requests:
                    count = batched.write(self.batch_file)
                    raise BatchWritten(stage, count, batched.again, self.batch_file, self.folder)
            return
        with Completions(self.folder / COMPLETIONS, stage) as kept:
            kept.guard = lambda left: self.budget.check(kept.ledger(), stage, left)
            yield kept

    @property
    def has_answers(self) -> bool:
        """True if answers of LLMs may be cached."""
        return (self.folder / COMPLETIONS).exists()

    def ledger(self) -> Ledger:
        """LLM usage by stage, summed over all sessions of this run."""
        with Completions(self.folder / COMPLETIONS) as kept:
            return kept.ledger()

    def asked(self, stage: str) -> dict[str, Any]:
        """LLM usage of a stage, summed over all sessions; for its manifest."""
        return {"asked": {llm: used._asdict() for (of, llm), used in self.ledger().items() if of == stage}}

    def candidates(self, indexed: StageOutput) -> ValueCache:
        """Cached candidates found with this index."""
        maker = fingerprint(indexed.fingerprint, indexed.manifest["inputs"])  # vectors; order of documents, encoder
        return ValueCache(self.folder / CANDIDATES, maker)

    def scores(self) -> ValueCache:
        """Cached scores."""
        return ValueCache(self.folder / SCORES)
