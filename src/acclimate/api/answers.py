"""The answers of LLMs that a run keeps, so that nothing is asked or paid for twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from acclimate.base.errors import DataError

if TYPE_CHECKING:
    from acclimate.llm.batches import Taken
    from acclimate.llm.completions import Completions


_BUSY_SECONDS = 3.0  # to wait for a run that writes: somebody is looking on


class Spending(NamedTuple):
    """What one LLM was asked for one stage, over every time that the run was begun.

    >>> acclimate.open("run").answers.spending()[0].stage
    'generate'
    """

    stage: str
    llm: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None  # None: its price is not known


class Answers:
    """What LLMs answered in a run. Raises DataError for a folder in which no answers are kept.

    >>> answers = acclimate.Answers("run")
    >>> len(answers), answers.damaged()
    (40, 0)
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "completions.sqlite"
        if not self.path.exists():
            raise DataError("no LLM answers are stored here", path=self.folder)

    def __len__(self) -> int:
        with self._completions() as completions:
            return len(completions)

    def spending(self, prices: str | PathLike[str] | None = None) -> list[Spending]:
        """What was asked, by stage and LLM. prices: a TOML file with the prices of LLMs, as `adapt` takes it."""
        from acclimate.llm.prices import Budget, read_prices

        budget = Budget(prices=None if prices is None else Path(prices))
        if budget.prices is not None:
            read_prices(budget.prices)
        with self._completions() as completions:
            return [
                Spending(
                    stage,
                    llm,
                    *usage,
                    budget.cost(llm, {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}),
                )
                for (stage, llm), usage in completions.ledger().items()
            ]

    def damaged(self) -> int:
        """How many answers cannot be read."""
        with self._completions() as completions:
            return len(completions.damaged())

    def prune(self) -> int:
        """Remove those that cannot be read, and say how many; a run asks for them again if it needs them."""
        from acclimate.run.workspace import Workspace

        with self._completions() as completions, Workspace(self.folder).lock():
            return completions.prune()

    def fill(self, results: str | PathLike[str]) -> Taken:
        """Take in what a batch endpoint gave back: JSON Lines with custom_id and response. Says what became of them.

        Raises DataError when none of them answers what this run asked.
        """
        from acclimate.llm.batches import read_results

        with self._completions() as completions:
            return read_results(completions, Path(results))

    @contextmanager
    def _completions(self) -> Iterator[Completions]:
        from acclimate.llm.completions import Completions

        with Completions(self.path, busy_seconds=_BUSY_SECONDS) as completions:
            yield completions
