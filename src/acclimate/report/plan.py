"""What a run would do, told before it does anything: stages, LLM calls, tokens, and about how long.

The times are rough: the arithmetic that each stage needs (`chain.estimates`), divided by what this machine does in a
short matrix product and by how much of that such a stage was seen to reach.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from acclimate.base.progress import duration
from acclimate.base.text import columns
from acclimate.llm import is_served
from acclimate.llm.estimate import Calls
from acclimate.llm.prices import price
from acclimate.stages import given
from acclimate.stages.chain import STAGES, estimates
from acclimate.stages.sample import foreseen
from acclimate.stages.skipped import skipped, taken

if TYPE_CHECKING:
    from acclimate.run.run import Run

_SHARE_REACHED = 0.35  # of the matrix product's speed, in the stages


def describe(run: Run) -> str:
    """A table of the stages that are not made, and what each would take."""
    start = run.input.start
    sampled = foreseen(run, run.input.corpus, 0.0) if start is None else given.foreseen(run, 0.0)
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
    skips, takes = skipped(run), taken(run)
    n_queries = calls["generate"].calls if start is None else len(start.queries)
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
                works_on.get(stage, f"{n_queries:,} queries"),
                f"{asked.calls:,}" if asked else "",
                f"{asked.prompt_tokens + asked.completion_tokens:,}" if asked else "",
                "done" if is_made else "given" if stage in takes else duration(seconds),
            ]
        )
    costs = "; ".join(dict.fromkeys(_cost(run, run.llms[stage], asked) for stage, asked in calls.items()))
    last = f"About {duration(total)} in total; {costs or 'no LLM calls'}. Nothing was run."
    return "\n".join([*columns(rows, "<<>>>"), "", last])


def _cost(run: Run, llm: str, calls: Calls) -> str:
    if not is_served(llm):
        return f"{llm} runs on this machine and costs nothing"
    per_token = price(llm, run.budget.prices)
    if per_token is None:
        return f"price of {llm} unknown (see --prices), and so is the speed of its server"
    most = per_token.of(calls.prompt_tokens, calls.completion_tokens)
    return f"{llm} costs at most ${most:,.2f}; the speed of its server is unknown"


def _flop_per_second() -> float:
    """What this machine reaches in a matrix product in the type that the models compute in."""
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
