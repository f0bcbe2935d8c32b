"""Estimate a run before it does anything: stages, LLM calls, tokens, and rough time.

Times are rough: each stage's FLOP (`chain.estimates`), divided by this machine's speed in a short matrix product and by
the share of that speed which stages typically reach.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from acclimate.base.progress import duration
from acclimate.base.text import columns, counted
from acclimate.llm import is_served
from acclimate.llm.estimate import Calls
from acclimate.llm.prices import price
from acclimate.stages import provided
from acclimate.stages.chain import STAGES, estimates
from acclimate.stages.sample import preview
from acclimate.stages.skipped import provided_stages, skipped

if TYPE_CHECKING:
    from acclimate.run.run import Run

_SHARE_REACHED = 0.35  # of the matrix product's speed


def describe(run: Run) -> str:
    """A table of the stages that are not made yet, and the cost of each."""
    provided_queries = run.input.provided_queries
    sampled = preview(run, run.input.corpus, 0.0) if provided_queries is None else provided.preview(run, 0.0)
    stages = estimates(run, sampled)
    calls = {stage: estimate.calls for stage, estimate in stages.items() if estimate.calls}
    speed = _flop_per_second() * _SHARE_REACHED
    unit = "passages" if run.input.parents else "documents"
    works_on = {
        **dict.fromkeys(("index", "sample"), f"{len(run.input.corpus):,} {unit}"),
        "seed": f"{run.settings['seed']['n_docs']:,} {unit}",
        "generate": f"{len(sampled.splits):,} {unit}",
    }
    rows = [["stage", "input", "LLM calls", "LLM tokens", "time"]]
    total = 0.0
    skips, takes = skipped(run), provided_stages(run)
    n_queries = calls["generate"].calls if provided_queries is None else len(provided_queries.queries)
    for stage in STAGES:
        if stage in skips:
            rows += [] if stage == "seed" else [[stage, "skipped: its output is not needed", "", "", ""]]
            continue
        estimate = stages[stage]
        is_made, asked = run.workspace.is_made(stage), estimate.calls
        seconds = 0.0 if is_made else estimate.flop / speed
        total += seconds
        rows.append(
            [
                stage,
                works_on.get(stage, counted(n_queries, "query")),
                f"{asked.calls:,}" if asked else "",
                f"{asked.prompt_tokens + asked.completion_tokens:,}" if asked else "",
                "done" if is_made else "given" if stage in takes else duration(seconds),
            ]
        )
    costs = "; ".join(dict.fromkeys(_cost(run, run.llms[stage], asked) for stage, asked in calls.items()))
    last = f"About {duration(total)} in total; {costs or 'no LLM calls'}. Nothing was run."
    return "\n".join([*columns(rows, "<<>>>"), *files_dropped(run.input.documents.dropped), "", last])


def files_dropped(dropped: Mapping[str, int]) -> list[str]:
    """A line on the files of a folder that are no documents, by reason; none if all are."""
    counts = ", ".join(f"{reason} {count:,}" for reason, count in dropped.items())
    return [f"dropped: {counts}"] if counts else []


def _cost(run: Run, llm: str, calls: Calls) -> str:
    if not is_served(llm):
        return f"{llm} runs on this machine and costs nothing"
    per_token = price(llm, run.budget.prices)
    if per_token is None:
        return f"price of {llm} unknown (see --prices), and so is the speed of its server"
    most = per_token.of(calls.prompt_tokens, calls.completion_tokens)
    return f"{llm} costs at most ${most:,.2f}; the speed of its server is unknown"


def _flop_per_second() -> float:
    """FLOP per second of a matrix product on this machine, in the models' dtype."""
    import torch

    from acclimate.base import models

    size = 1024
    matrix = torch.ones(size, size, dtype=models.dtype(), device=models.device())
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        product = matrix @ matrix
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
