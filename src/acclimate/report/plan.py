"""What a run would do, told before it does anything: stages, LLM calls, tokens, and about how long.

The times are rough: the arithmetic that each stage needs, divided by what this machine does in a short matrix product
and by how much of that such a stage was seen to reach.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acclimate.base.errors import AcclimateError
from acclimate.base.progress import duration
from acclimate.learn.rerankers.groups import PROMPT, number_of
from acclimate.learn.teachers.selection import CHOSEN, RERANKER
from acclimate.llm import is_served, prompts
from acclimate.llm.decoding import CHARACTERS_PER_TOKEN
from acclimate.llm.grade import GRADE_TOKENS, MAX_DOC_TOKENS
from acclimate.llm.prices import price
from acclimate.llm.prompts import ADAPTED, Material, plain_names
from acclimate.report.terminal import columns
from acclimate.stages.generate import Estimate, estimate
from acclimate.stages.label import named_scorers
from acclimate.stages.sample import Sample, check_size, foreseen
from acclimate.stages.seed import GOOD_AND_BAD

if TYPE_CHECKING:
    from acclimate.run.run import Run

_CHARACTERS_PER_TOKEN = 4.5
_SHARE_REACHED = 0.35  # of the matrix product's speed, in the stages below
_FORWARD_FLOP = 2  # per parameter and token; training takes three times as much
_LLM_PARAMETERS = 106e6
_ENCODER_PARAMETERS = 10.6e6
_PAIR_TOKENS = 24  # of a query and what is asked about it
_KEPT = 0.75  # queries that pass the filters, about


def describe(run: Run) -> str:
    """A table of the stages that are not made, and what each would take."""
    settings = run.settings
    docs = [doc.default_text() for doc in run.input.corpus.values()]
    sampled = foreseen(run, run.input.corpus, 0.0)
    drawn = sampled.splits
    asked = {"generate": _generating(run, sampled)}
    if run.seeds_prompts:
        asked = {"seed": _seeding(settings["seed"]), **asked}
    if "filter" in run.llms:
        asked["filter"] = _judging(settings["filter"]["judge"], asked["generate"].calls)
    tokens = sum(min(len(text) / _CHARACTERS_PER_TOKEN, settings["index"]["max_tokens"]) for text in docs)
    queries = _KEPT * asked["generate"].calls
    rerankers = _rerankers(run)
    ways = settings["train"]["n_ways"] or settings["mine"]["n_ways"]
    pairs = min(queries, rerankers * settings["train"]["max_queries"]) * ways * settings["train"]["epochs"]
    searches = min(len(run.input.labels.measuring.queries) or 0.2 * len(drawn), settings["evaluate"]["max_queries"])
    chosen_on = len(run.input.labels.choosing.queries) or settings["sample"]["dev_share"] * queries
    answers = 2 * searches + len(settings["evaluate"]["rerank"]) * chosen_on
    reranked = rerankers * answers * settings["evaluate"]["rerank_depth"]
    lists = settings["label"]["reranker_ways"]
    rated = rerankers * settings["sample"]["dev_share"] * queries * lists
    teaching = sum(name.startswith("cross-encoder:") for name in named_scorers(run))
    if settings["label"]["weights"] != CHOSEN and RERANKER in settings["label"]["teachers"]:
        teaching += rerankers  # chosen ones mostly get no weight, and are not asked again
    taught = teaching * queries * lists
    llm_flop = {  # what prompts share is read once
        stage: 0.0
        if is_served(run.llms[stage])
        else _FORWARD_FLOP
        * _LLM_PARAMETERS
        * (calls.completion_tokens + calls.calls * settings[stage].get("max_doc_tokens", MAX_DOC_TOKENS))
        for stage, calls in asked.items()
    }
    flop = {
        "index": _FORWARD_FLOP * _ENCODER_PARAMETERS * tokens,
        "sample": 0.0,
        **{stage: work for stage, work in llm_flop.items() if stage != "filter"},
        "filter": _FORWARD_FLOP * _ENCODER_PARAMETERS * 16 * queries + llm_flop.get("filter", 0.0),
        "mine": _FORWARD_FLOP * _ENCODER_PARAMETERS * 16 * queries,
        "train": 3 * _FORWARD_FLOP * _ENCODER_PARAMETERS * settings["train"]["max_tokens"] * pairs,
        "label": _FORWARD_FLOP * _ENCODER_PARAMETERS * settings["train"]["max_tokens"] * (rated + taught)
        + _FORWARD_FLOP * _LLM_PARAMETERS * _rating(run, queries, tokens / max(1, len(docs))),
        "distill": 30
        * len(settings["distill"]["student"])
        * _FORWARD_FLOP
        * _ENCODER_PARAMETERS
        * 16
        * queries
        * settings["distill"]["epochs"],
        "evaluate": _FORWARD_FLOP * _ENCODER_PARAMETERS * settings["train"]["max_tokens"] * reranked,
    }
    speed = _flop_per_second() * _SHARE_REACHED
    kind = "passages" if run.input.parents else "documents"
    rows = [["stage", "works on", "LLM calls", "LLM tokens", "about"]]
    works_on = {
        **dict.fromkeys(("index", "sample"), f"{len(docs):,} {kind}"),
        "seed": f"{settings['seed']['n_docs']:,} {kind}",
        "generate": f"{len(drawn):,} {kind}",
    }
    total = 0.0
    for stage, work in flop.items():
        made = run.workspace.is_made(stage)
        calls = asked.get(stage)
        seconds = 0.0 if made else work / speed
        total += seconds
        rows.append(
            [
                stage,
                works_on.get(stage, f"{asked['generate'].calls:,} queries"),
                f"{calls.calls:,}" if calls else "",
                f"{calls.prompt_tokens + calls.completion_tokens:,}" if calls else "",
                "made" if made else duration(seconds),
            ]
        )
    costs = "; ".join(dict.fromkeys(_cost(run, run.llms[stage], calls) for stage, calls in asked.items()))
    lines = columns(rows, "<<>>>")
    last = f"In all about {duration(total)}; {costs}. Nothing was done."
    return "\n".join([*lines, "", last, *_refusal(run)])


def _refusal(run: Run) -> list[str]:
    """Why the run would not begin, if it would not."""
    try:
        check_size(run, holds_out=True)
    except AcclimateError as error:
        return [f"It would not begin: {error}"]
    return []


def _rerankers(run: Run) -> int:
    """How many `train` makes, at most."""
    asked = run.settings["train"]["rerankers"]
    return len(set(plain_names(run.settings["generate"]["prompt"]))) if asked == PROMPT else number_of(asked) or 1


def _rating(run: Run, queries: float, doc_tokens: float) -> float:
    """Tokens that the LLMs among the teachers read if all of them teach: each document once, and each pair's query."""
    llms = [name for name in named_scorers(run) if not name.startswith("cross-encoder:")]
    pairs = queries * run.settings["label"]["reranker_ways"]
    return len(llms) * (min(pairs, len(run.input.corpus)) * doc_tokens + pairs * _PAIR_TOKENS)


def _generating(run: Run, sampled: Sample) -> Estimate:
    """What `generate` asks; prompts that are made from the corpus are taken to be as long as the one they follow."""
    settings = run.settings["generate"]
    names = ("per_doc", "task", "language", "style", "max_doc_tokens", "max_new_tokens", "temperature")
    names_of = plain_names(settings["prompt"])
    wanted = tuple(dict.fromkeys(GOOD_AND_BAD if name == ADAPTED else name for name in names_of))
    material = Material(sampled.examples, (), run.collection_name)
    docs = [run.input.corpus[doc_id] for doc_id in sampled.splits]
    values = {name: settings[name] for name in names}
    if not run.seeds_prompts:
        return estimate(docs, material, prompt=wanted, **values)
    seeds = run.settings["seed"]
    asked = values["per_doc"] if values["temperature"] else min(values["per_doc"], seeds["n_prompts"] + len(wanted) - 1)
    once = estimate(docs, material, prompt=wanted, **{**values, "per_doc": 1})
    longer = once.calls * seeds["n_examples"] * seeds["max_doc_tokens"]  # the documents that they show
    return Estimate(asked * once.calls, asked * (once.prompt_tokens + longer), asked * once.completion_tokens)


def _seeding(settings: Mapping[str, Any]) -> Estimate:
    """What `seed` asks: a good question and a bad one for each document, behind the longest prompts there are."""
    calls = 2 * settings["n_docs"]
    form = len(prompts.load(GOOD_AND_BAD).prefix) // CHARACTERS_PER_TOKEN
    return Estimate(calls, calls * (form + settings["max_doc_tokens"]), calls * settings["max_new_tokens"])


def _judging(judge: str, queries: int) -> Estimate:
    """What the judge is asked: about every query, with its whole document."""
    read = len(prompts.judge(judge).prefix) // CHARACTERS_PER_TOKEN + MAX_DOC_TOKENS
    return Estimate(queries, queries * read, queries * GRADE_TOKENS)


def _cost(run: Run, llm: str, calls: Estimate) -> str:
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
