"""What was asked of models for a run, once, kept in its folder: LLMs' answers, which cost money, candidates, scores."""

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
from acclimate.search.kept_values import KeptValues

COMPLETIONS, CANDIDATES, SCORES = "completions.sqlite", "candidates.sqlite", "scores.sqlite"


@dataclass(frozen=True)
class Store:
    """The answers, candidates and scores in one run's folder."""

    folder: Path
    budget: Budget
    batch_file: Path | None = None  # for requests that are not to be sent

    @contextmanager
    def completions(self, stage: str) -> Iterator[Completions]:
        """The answers that are kept, and that a stage adds to as long as the budget lasts.

        Raises BatchWritten when what is missing goes into a batch file instead of to an LLM.
        """
        if self.batch_file is not None:
            from acclimate.llm.batches import BatchedCompletions

            with BatchedCompletions(self.folder / COMPLETIONS, stage) as batched:
                try:
                    yield batched
                except AcclimateError:  # a stage may well be unable to work with answers that are not there yet
                    if not batched.requests:
                        raise
                if batched.requests:
                    count = batched.write(self.batch_file)
                    raise BatchWritten(stage, count, batched.again, self.batch_file, self.folder)
            return
        with Completions(self.folder / COMPLETIONS, stage) as kept:
            kept.guard = lambda left: self.budget.check(kept.ledger(), left)
            yield kept

    def ledger(self) -> Ledger:
        """What LLMs were asked for each stage, over every time that this run was begun."""
        with Completions(self.folder / COMPLETIONS) as kept:
            return kept.ledger()

    def asked(self, stage: str) -> dict[str, Any]:
        """What a stage asked of LLMs, over every time that it was begun; for its manifest."""
        return {"asked": {llm: used._asdict() for (of, llm), used in self.ledger().items() if of == stage}}

    def candidates(self, indexed: StageOutput) -> KeptValues:
        """What was found for queries with this index."""
        maker = fingerprint(indexed.fingerprint, indexed.manifest["inputs"])  # vectors; documents' order, encoder
        return KeptValues(self.folder / CANDIDATES, maker)

    def scores(self) -> KeptValues:
        """What scorers said."""
        return KeptValues(self.folder / SCORES)
