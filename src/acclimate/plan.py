"""What a run would do, told before it does anything: stages, LLM calls, tokens, and about how long.

The times are rough: the arithmetic that each stage needs, divided by what this machine does in a short matrix product
and by how much of that such a stage was seen to reach.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from acclimate.llm import is_served
from acclimate.llm.prices import price
from acclimate.progress import duration
from acclimate.report.table import columns
from acclimate.stages.generate import Estimate, estimate
from acclimate.stages.sample import sample

if TYPE_CHECKING:
    from acclimate.run import Run

_CHARACTERS_PER_TOKEN = 4.5
_SHARE_REACHED = 0.35  # of the matrix product's speed, in the stages below
_FORWARD_FLOP = 2  # per parameter and token; training takes three times as much
_LLM_PARAMETERS = 106e6
_ENCODER_PARAMETERS = 10.6e6
_KEPT = 0.75  # queries that pass the filters, about


def describe(run: Run) -> str:
    """A table of the stages that are not made, and what each would take."""
    settings = run.settings
    docs = [doc.default_text() for doc in run.corpus.values()]
    drawn = sample(run.corpus, seed=run.seed, **settings["sample"]).splits
    wanted = {key: settings["generate"][key] for key in ("prompt", "per_doc", "max_doc_tokens", "max_new_tokens")}
    calls = estimate([run.corpus[doc_id] for doc_id in drawn], **wanted)
    tokens = sum(min(len(text) / _CHARACTERS_PER_TOKEN, settings["index"]["max_tokens"]) for text in docs)
    queries = _KEPT * len(drawn)
    pairs = min(queries, settings["train"]["max_queries"]) * settings["mine"]["n_ways"] * settings["train"]["epochs"]
    searches = min(len(run.labelled[1]) or 0.2 * len(drawn), settings["evaluate"]["max_queries"])
    rated = (settings["sample"]["dev_share"] * queries * settings["label"]["reranker_ways"]) + 2 * searches * settings[
        "evaluate"
    ]["rerank_depth"]
    own_tokens = calls.completion_tokens + len(drawn) * settings["generate"]["max_doc_tokens"]
    flop = {
        "sample": 0.0,
        "index": _FORWARD_FLOP * _ENCODER_PARAMETERS * tokens,
        "generate": 0.0 if is_served(settings["generate"]["llm"]) else _FORWARD_FLOP * _LLM_PARAMETERS * own_tokens,
        "filter": _FORWARD_FLOP * _ENCODER_PARAMETERS * 16 * queries,
        "mine": _FORWARD_FLOP * _ENCODER_PARAMETERS * 16 * queries,
        "train": 3 * _FORWARD_FLOP * _ENCODER_PARAMETERS * settings["train"]["max_tokens"] * pairs,
        "label": _FORWARD_FLOP * _ENCODER_PARAMETERS * settings["train"]["max_tokens"] * rated / 2,
        "distill": 60 * _FORWARD_FLOP * _ENCODER_PARAMETERS * 16 * queries * settings["distill"]["epochs"],
        "evaluate": _FORWARD_FLOP * _ENCODER_PARAMETERS * settings["train"]["max_tokens"] * rated / 2,
    }
    speed = _flop_per_second() * _SHARE_REACHED
    rows = [["stage", "works on", "LLM calls", "LLM tokens", "about"]]
    total = 0.0
    for stage, work in flop.items():
        made = run.workspace.manifest(stage) is not None
        asks = stage == "generate"
        seconds = 0.0 if made else work / speed
        total += seconds
        rows.append(
            [
                stage,
                f"{len(docs):,} documents" if stage in ("sample", "index") else f"{len(drawn):,} queries",
                f"{calls.calls:,}" if asks else "",
                f"{calls.prompt_tokens + calls.completion_tokens:,}" if asks else "",
                "made" if made else duration(seconds),
            ]
        )
    lines = columns(rows, "<<>>>")
    return "\n".join([*lines, "", f"In all about {duration(total)}; {_cost(run, calls)}. Nothing was done."])


def _cost(run: Run, calls: Estimate) -> str:
    llm = run.settings["generate"]["llm"]
    if not is_served(llm):
        return f"{llm} runs on this machine and costs nothing"
    found = price(llm, run.budget.prices)
    if found is None:
        return f"the price of {llm} is not known (see --prices), nor how long its server takes"
    most = found.of(calls.prompt_tokens, calls.completion_tokens)
    return f"{llm} costs ${most:,.2f} at most, and how long its server takes is not known"


def _flop_per_second() -> float:
    """What this machine reaches in a matrix product in the type that the models compute in."""
    import torch

    from acclimate import models

    size = 1024
    matrix = torch.ones(size, size, dtype=models.dtype(), device=models.device())
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        product = matrix @ matrix
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
