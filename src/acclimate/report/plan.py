"""Estimate a run before it does anything: stages, LLM calls, tokens, and rough time.

Times are rough: each stage's FLOP (`chain.estimates`), divided by this machine's speed in a short matrix product and by
the share of that speed which stages typically reach.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from acclimate.base.progress import duration
from acclimate.base.text import columns, counted
from acclimate.base.version import __version__
from acclimate.corpus import survey
from acclimate.llm import is_served
from acclimate.llm.estimate import Calls
from acclimate.llm.prices import price
from acclimate.report.formatting import size
from acclimate.run.estimate import Estimate, is_sized
from acclimate.run.run import DOCUMENTS
from acclimate.run.workspace import plain
from acclimate.stages import provided
from acclimate.stages.chain import STAGES, estimates, models_used
from acclimate.stages.evaluate import most_measured
from acclimate.stages.sample import preview
from acclimate.stages.skipped import provided_stages

if TYPE_CHECKING:
    from acclimate.run.run import Run

_SHARE_REACHED = 0.35  # of the matrix product's speed


def describe(run: Run) -> str:
    """A table of the stages that are not made yet, and the cost of each."""
    written = run.input.provided_queries
    sampled = preview(run, run.input.corpus, 0.0) if written is None else provided.preview(run, 0.0)
    stages, takes, current = estimates(run, sampled), provided_stages(run), _current(run)
    generating = stages["generate"].calls or Calls(0, 0, 0)
    works_on = _inputs(run, generating.calls if written is None else len(written.queries), len(sampled.splits))
    left = {stage: Estimate() if stage in current else estimate for stage, estimate in stages.items()}
    speed = _flop_per_second() * _SHARE_REACHED
    seconds = {stage: estimate.flop / speed for stage, estimate in left.items()}
    rows = [["stage", "input", "LLM calls", "LLM tokens", "time"]]
    for stage in STAGES:
        if stage in left:
            calls = left[stage].calls
            counts = [f"{calls.calls:,}", f"{calls.prompt_tokens + calls.completion_tokens:,}"] if calls else ["", ""]
            time_left = "done" if stage in current else "given" if stage in takes else duration(seconds[stage])
            rows.append([stage, works_on[stage], *counts, time_left])
        elif stage != "seed":
            rows.append([stage, "skipped: its output is not needed", "", "", ""])
    due: dict[str, Calls] = {}  # LLM -> its calls in all stages that are not done
    for stage, estimate in left.items():
        if estimate.calls:
            so_far = due.get(run.llms[stage], Calls(0, 0, 0))
            due[run.llms[stage]] = Calls(*map(sum, zip(so_far, estimate.calls, strict=True)))
    costs = "; ".join(_cost(run, llm, calls) for llm, calls in due.items())
    on_disk = f"; the index takes about {size(left['index'].n_bytes)}" if "index" not in current else ""
    last = f"About {duration(sum(seconds.values()))} in total; {costs or 'no LLM calls'}{on_disk}. Nothing was run."
    warnings = [f"warning: {warning}" for warning in _warnings(run, stages.keys() - current - takes)]
    return "\n".join([*columns(rows, "<<>>>"), *files_dropped(run.input.documents.dropped), *warnings, "", last])


def _inputs(run: Run, n_queries: int, n_sampled: int) -> dict[str, str]:
    """Stage -> what it works on, in words."""
    unit, measured = run.input.unit, counted(most_measured(run, n_sampled), "query")
    return {
        **dict.fromkeys(STAGES, f"up to {counted(n_queries, 'query')}"),
        **dict.fromkeys(("index", "sample"), f"{len(run.input.corpus):,} {unit}"),
        "seed": f"{run.settings['seed']['n_docs']:,} {unit}",
        "generate": f"{n_sampled:,} {unit}",
        "filter": counted(n_queries, "query"),
        "evaluate": measured if run.input.labels.measuring.queries else f"up to {measured}",
    }


def _warnings(run: Run, working: Container[str]) -> list[str]:
    """What to know of the documents, and of the times. working: the stages that are not done, skipped or given."""
    warnings: list[str] = []
    if "index" in working:
        index, encoder = run.settings["index"], run.settings["distill"]["base"]
        warnings = survey.warnings(run.input.corpus, index["language"], encoder, index["max_tokens"])
    unknown = dict.fromkeys(name for stage, name in models_used(run) if stage in working and not is_sized(name))
    if unknown:
        names = ", ".join(unknown)
        warnings.append(
            f"sizes of models that are not folders are not known, so times are those of small ones: {names}"
        )
    return warnings


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
