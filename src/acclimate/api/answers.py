"""The LLM answers that a run keeps, so that nothing is requested or paid for twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from acclimate.base.arguments import StrPath, path_of, run_folder
from acclimate.base.errors import DataError

if TYPE_CHECKING:
    from acclimate.llm.batches import BatchResults
    from acclimate.llm.completions import Completions


_BUSY_SECONDS = 3.0  # how long to wait for a run that writes, as a user is waiting


class Spending(NamedTuple):
    """What one LLM was asked for one stage, summed over all sessions of the run.

    >>> acclimate.open("run").answers.spending()[0].stage
    'generate'
    """

    stage: str
    llm: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None  # None if the price is unknown


class Answers:
    """The cached LLM answers of a run. Raises DataError for a folder without any.

    >>> answers = acclimate.Answers("run")
    >>> answers
    Answers('run')
    >>> len(answers), answers.damaged()
    (40, 0)
    """

    def __init__(self, folder: StrPath) -> None:
        self.folder = run_folder(folder)
        self.path = self.folder / "completions.sqlite"
        if not self.path.exists():
            raise DataError("no LLM answers are stored here", path=self.folder)

    def __repr__(self) -> str:
        return f"Answers({str(self.folder)!r})"

    def __len__(self) -> int:
        with self._completions() as completions:
            return len(completions)

    def spending(self, prices: StrPath | None = None) -> list[Spending]:
        """Usage by stage and LLM. prices: a TOML file with LLM prices, as for `adapt`."""
        from acclimate.llm.prices import Budget, read_prices

        budget = Budget(prices=None if prices is None else path_of(prices, "prices"))
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
        """Number of answers that cannot be read."""
        with self._completions() as completions:
            return len(completions.damaged())

    def prune(self) -> int:
        """Remove unreadable answers and return their number; a run requests them again when needed."""
        from acclimate.run.workspace import Workspace

        with self._completions() as completions, Workspace(self.folder).lock():
            return completions.prune()

    def fill(self, results: StrPath) -> BatchResults:
        """Add the results of a batch endpoint (JSON Lines with custom_id and response); returns counts.

        Raises DataError if no result answers a request of this run.
        """
        from acclimate.llm.batches import read_results

        with self._completions() as completions:
            return read_results(completions, path_of(results, "results"))

    @contextmanager
    def _completions(self) -> Iterator[Completions]:
        from acclimate.llm.completions import Completions

        with Completions(self.path, busy_seconds=_BUSY_SECONDS) as completions:
            yield completions
