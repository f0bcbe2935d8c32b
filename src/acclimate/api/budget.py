"""Limits on the LLM usage of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.base.arguments import StrPath, path_text
from acclimate.base.targets import refuse_replacing, refuse_unwritable
from acclimate.corpus.overwriting import refuse_replacing_collection

if TYPE_CHECKING:
    from acclimate.run.run import Run

Limit = float | Mapping[str, float] | Sequence[str] | None  # for all stages together, or by stage


def limit(run: Run, max_cost: Limit, max_tokens: Limit, prices: StrPath | None, batch: StrPath | None = None) -> None:
    """Set the budget of a run's LLMs, and the batch file that takes their requests, if any."""
    from acclimate.llm.prices import Budget, read_limits, read_prices

    prices = None if prices is None else Path(path_text(prices, "prices"))
    if prices is not None:
        read_prices(prices)
    run.budget = Budget(read_limits(_texts(max_tokens), _texts(max_cost)), prices)
    run.batch_file = None if batch is None else Path(path_text(batch, "batch"))
    if run.batch_file is not None:
        refuse_unwritable(run.batch_file)
        refuse_replacing_collection(run.batch_file, run.input.source)
        refuse_replacing(run.batch_file, *run.input.provided.files.values(), *filter(None, [prices]))


def _texts(limit: Limit) -> list[str]:
    """A limit in the form of the command line: N, or STAGE=N for each stage."""
    if limit is None:
        return []
    if isinstance(limit, Mapping):
        return [f"{stage}={amount}" for stage, amount in limit.items()]
    return [str(part) for part in limit] if isinstance(limit, list | tuple) else [str(limit)]
