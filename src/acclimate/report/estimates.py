"""What each stage of a run takes, before anything is done: calls of LLMs, their tokens, and arithmetic.

The figures are rough. Arithmetic counts two operations for each parameter and token that a model reads, and three times
as much for training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acclimate.learn.rerankers.groups import PROMPT, number_of
from acclimate.learn.teachers.selection import CHOSEN, RERANKER
from acclimate.llm import is_served, prompts
from acclimate.llm.grade import GRADE_TOKENS, MAX_DOC_TOKENS
from acclimate.llm.lengths import CHARACTERS_PER_TOKEN
from acclimate.llm.prompts import ADAPTED, Material, plain_names
from acclimate.stages.generate import Estimate, estimate
from acclimate.stages.label import named_scorers
from acclimate.stages.sample import Sample
from acclimate.stages.seed import GOOD_AND_BAD

if TYPE_CHECKING:
    from acclimate.run.run import Run

_CHARACTERS_PER_TOKEN = 4.5
_LLM_FLOP = 2 * 106e6  # a token, of the embedded LLM
_ENCODER_FLOP = 2 * 10.6e6  # a token, of the embedded encoder
_TRAINING = 3  # times as much as reading
_DISTILLING = 30  # the same for a query of a student, with all its documents
_QUERY_TOKENS = 16
_PAIR_TOKENS = 24  # of a query and what is asked about it
_KEPT = 0.75  # queries that pass the filters, about


def llm_calls(run: Run, sampled: Sample) -> dict[str, Estimate]:
    """What LLMs are asked, by stage in the order of the chain."""
    generating = _generating(run, sampled)
    calls = {"seed": _seeding(run.settings["seed"])} if run.seeds_prompts else {}
    calls["generate"] = generating
    if "filter" in run.llms:
        calls["filter"] = _judging(run.settings["filter"]["judge"], generating.calls)
    return calls


def flop(run: Run, calls: Mapping[str, Estimate], n_drawn: int) -> dict[str, float]:
    """Arithmetic of models on this machine, by stage in the order of the chain; none for an LLM behind a server.

    calls: as of `llm_calls`. n_drawn: documents that get queries.
    """
    settings = run.settings
    limit, documents = settings["index"]["max_tokens"], [doc.default_text() for doc in run.input.corpus.values()]
    tokens = sum(min(len(text) / _CHARACTERS_PER_TOKEN, limit) for text in documents)
    queries = _KEPT * calls["generate"].calls
    searching = _ENCODER_FLOP * _QUERY_TOKENS * queries
    asking = {stage: _asking(run, stage, estimate) for stage, estimate in calls.items()}
    pair = _ENCODER_FLOP * settings["train"]["max_tokens"]
    distilled = len(settings["distill"]["student"]) * settings["distill"]["epochs"]
    return {
        "index": _ENCODER_FLOP * tokens,
        "sample": 0.0,
        **{stage: amount for stage, amount in asking.items() if stage != "filter"},
        "filter": searching + asking.get("filter", 0.0),
        "mine": searching,
        "train": _TRAINING * pair * _training_pairs(run, queries),
        "label": pair * _labeled_pairs(run, queries)
        + _LLM_FLOP * _llm_rating_tokens(run, queries, tokens / max(1, len(documents))),
        "distill": _DISTILLING * searching * distilled,
        "evaluate": pair * _reranked_pairs(run, queries, n_drawn),
    }


def _asking(run: Run, stage: str, calls: Estimate) -> float:
    """Of the LLM on this machine; what prompts share is read once."""
    if is_served(run.llms[stage]):
        return 0.0
    doc_tokens = run.settings[stage].get("max_doc_tokens", MAX_DOC_TOKENS)
    return _LLM_FLOP * (calls.completion_tokens + calls.calls * doc_tokens)


def _training_pairs(run: Run, queries: float) -> float:
    train, mine = run.settings["train"], run.settings["mine"]
    return min(queries, _rerankers(run) * train["max_queries"]) * (train["n_ways"] or mine["n_ways"]) * train["epochs"]


def _labeled_pairs(run: Run, queries: float) -> float:
    """Pairs that cross-encoders rate: of the held-out queries, and of all where they teach for certain."""
    label = run.settings["label"]
    rated = _rerankers(run) * run.settings["sample"]["dev_share"] * queries
    teaching = sum(name.startswith("cross-encoder:") for name in named_scorers(run))
    if label["weights"] != CHOSEN and RERANKER in label["teachers"]:
        teaching += _rerankers(run)  # chosen ones mostly get no weight, and are not asked again
    return (rated + teaching * queries) * label["reranker_ways"]


def _reranked_pairs(run: Run, queries: float, n_drawn: int) -> float:
    evaluate = run.settings["evaluate"]
    searches = min(len(run.input.labels.measuring.queries) or 0.2 * n_drawn, evaluate["max_queries"])
    chosen_on = len(run.input.labels.choosing.queries) or run.settings["sample"]["dev_share"] * queries
    return _rerankers(run) * (2 * searches + len(evaluate["rerank"]) * chosen_on) * evaluate["rerank_depth"]


def _rerankers(run: Run) -> int:
    """How many `train` makes, at most."""
    wanted = run.settings["train"]["rerankers"]
    return len(set(plain_names(run.settings["generate"]["prompt"]))) if wanted == PROMPT else number_of(wanted) or 1


def _llm_rating_tokens(run: Run, queries: float, doc_tokens: float) -> float:
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
    times = values["per_doc"] if values["temperature"] else min(values["per_doc"], seeds["n_prompts"] + len(wanted) - 1)
    once = estimate(docs, material, prompt=wanted, **{**values, "per_doc": 1})
    longer = once.calls * seeds["n_examples"] * seeds["max_doc_tokens"]  # the documents that they show
    return Estimate(times * once.calls, times * (once.prompt_tokens + longer), times * once.completion_tokens)


def _seeding(settings: Mapping[str, Any]) -> Estimate:
    """What `seed` asks: a good question and a bad one for each document, behind the longest prompts there are."""
    calls = 2 * settings["n_docs"]
    form = len(prompts.load(GOOD_AND_BAD).prefix) // CHARACTERS_PER_TOKEN
    return Estimate(calls, calls * (form + settings["max_doc_tokens"]), calls * settings["max_new_tokens"])


def _judging(judge: str, queries: int) -> Estimate:
    """What the judge is asked: about every query, with its whole document."""
    read = len(prompts.judge(judge).prefix) // CHARACTERS_PER_TOKEN + MAX_DOC_TOKENS
    return Estimate(queries, queries * read, queries * GRADE_TOKENS)
