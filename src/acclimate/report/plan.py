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
from acclimate.base.version import __version__
from acclimate.corpus import survey
from acclimate.llm import is_served
from acclimate.llm.estimate import Calls
from acclimate.llm.prices import price
from acclimate.report.formatting import size
from acclimate.run.estimate import is_sized
from acclimate.run.run import DOCUMENTS
from acclimate.run.workspace import plain
from acclimate.stages import provided
from acclimate.stages.chain import STAGES, estimates, models_used
from acclimate.stages.evaluate import most_measured
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
    unit = run.input.unit
    n_queries = calls["generate"].calls if provided_queries is None else len(provided_queries.queries)
    measured = counted(most_measured(run, len(sampled.splits)), "query")
    works_on = {
        **dict.fromkeys(("index", "sample"), f"{len(run.input.corpus):,} {unit}"),
        "seed": f"{run.settings['seed']['n_docs']:,} {unit}",
        "generate": f"{len(sampled.splits):,} {unit}",
        "filter": counted(n_queries, "query"),
        "evaluate": measured if run.input.labels.measuring.queries else f"up to {measured}",
    }
    rows = [["stage", "input", "LLM calls", "LLM tokens", "time"]]
    total = 0.0
    due: dict[str, Calls] = {}  # LLM -> its calls in all stages that are not done
    skips, takes, current = skipped(run), provided_stages(run), _current(run)
    for stage in STAGES:
        if stage in skips:
            rows += [] if stage == "seed" else [[stage, "skipped: its output is not needed", "", "", ""]]
            continue
        estimate = stages[stage]
        is_made = stage in current
        asked = None if is_made else estimate.calls
        seconds = 0.0 if is_made else estimate.flop / speed
        total += seconds
        if asked:
            so_far = due.get(run.llms[stage], Calls(0, 0, 0))
            due[run.llms[stage]] = Calls(*map(sum, zip(so_far, asked, strict=True)))
        rows.append(
            [
                stage,
                works_on.get(stage, f"up to {counted(n_queries, 'query')}"),
                f"{asked.calls:,}" if asked else "",
                f"{asked.prompt_tokens + asked.completion_tokens:,}" if asked else "",
                "done" if is_made else "given" if stage in takes else duration(seconds),
            ]
        )
    costs = "; ".join(_cost(run, llm, asked) for llm, asked in due.items())
    index = run.settings["index"]
    warnings = [] if "index" in current else survey.warnings(run.input.corpus, index["language"], index["max_tokens"])
    on_disk = f"; the index takes about {size(stages['index'].n_bytes)}" if "index" not in current else ""
    last = f"About {duration(total)} in total; {costs or 'no LLM calls'}{on_disk}. Nothing was run."
    unknown = [name for stage, name in models_used(run) if not ({stage} & {*current, *skips, *takes} or is_sized(name))]
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        warnings.append(
            f"sizes of models that are not folders are not known, so times are those of small ones: {names}"
        )
    said = [*files_dropped(run.input.documents.dropped), *(f"warning: {warning}" for warning in warnings)]
    return "\n".join([*columns(rows, "<<>>>"), *said, "", last])


def files_dropped(dropped: Mapping[str, int]) -> list[str]:
    """A line on the files of a folder that are no documents, by reason; none if all are."""
    counts = ", ".join(f"{reason} {count:,}" for reason, count in dropped.items())
    return [f"dropped: {counts}"] if counts else []


def _current(run: Run) -> set[str]:
    """The stages that are made and would not be made again, as far as is known without making those before them.

    A stage is made again if its settings, the seed or the version differ, or anything it was made from. Only what is
    known here is compared, and a stage that is made again counts as different.
    """
    inputs, current = run.input, set[str]()
    known = {
        DOCUMENTS: inputs.corpus.fingerprint,
        "test_share": str(inputs.labels.test_share),
        "labels": inputs.labels.measuring.fingerprint,
        "dev": inputs.labels.choosing.fingerprint,
        **{f"{stage}.{name}": str(value) for stage, each in run.settings.items() for name, value in each.items()},
    }
    for stage in STAGES:
        manifest = run.workspace.usable_manifest(stage)
        if manifest is None or (manifest["seed"], manifest["versions"]["acclimate"]) != (run.seed, __version__):
            continue
        settings, made_from = plain(run.settings[stage]), dict(manifest["inputs"])
        made_from.pop("train.base", None)  # in filter, a fingerprint; its name is among the settings of train
        before = {"sample"} if "drawn documents" in made_from else made_from.keys() & STAGES.keys()
        before |= {"seed"} if stage == "generate" and run.seeds_prompts else set()
        is_same = all(settings.get(name) == value for name, value in manifest["settings"].items())
        is_same &= all(known.get(name, value) == value for name, value in made_from.items())
        is_same &= stage != "steer" or ("log" in made_from) == bool(inputs.log and settings["log_queries"])
        is_same &= stage != "evaluate" or ("first-stage" in made_from) == (inputs.first_stage is not None)
        if is_same and before <= current:
            current.add(stage)
    return current


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
