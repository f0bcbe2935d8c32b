"""What a dry run says of a run that exists: what is done, what the rest costs, and what they come to together."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.base.errors import SettingError
from acclimate.base.version import __version__
from acclimate.llm.estimate import Calls
from acclimate.report import plan
from acclimate.run.estimate import SEARCH_FLOP, TRAINING_FACTOR, Estimate
from acclimate.stages import evaluate, steer, train
from acclimate.stages.chain import STAGES

SEED, LLM = 3, "openai:gpt-4.1"
ASKS = {"generate": Calls(9, 1_000_000, 1_000_000), "filter": Calls(7, 2_000_000, 500_000)}


def manifest_of(stage, **inputs) -> dict[str, Any]:
    return {"seed": SEED, "versions": {"acclimate": __version__}, "settings": {"setting": 1}, "inputs": inputs}


def chained() -> dict[str, Any]:
    """The manifests of a finished run without rerankers; each stage is made from the one before."""
    stages = [stage for stage in STAGES if stage not in ("seed", "train")]
    before = dict(zip(stages[1:], stages[:-1], strict=True))
    return {stage: manifest_of(stage, **({before[stage]: "made"} if stage in before else {})) for stage in stages}


USED = [("index", "embedded:e"), ("train", "org/base"), ("generate", "org/writer"), ("filter", "org/judge")]


def run_with(manifests, log=False, first_stage=None) -> Any:
    measuring, choosing = SimpleNamespace(fingerprint="", queries=[]), SimpleNamespace(fingerprint="")
    return SimpleNamespace(
        input=SimpleNamespace(
            corpus=SimpleNamespace(fingerprint=""),
            documents=SimpleNamespace(dropped={"image": 2}),
            labels=SimpleNamespace(test_share=0.2, measuring=measuring, choosing=choosing),
            log=log, first_stage=first_stage, unit="documents", provided_queries=None,
        ),
        seed=SEED, seeds_prompts=False, budget=SimpleNamespace(prices=None),
        settings={stage: {"setting": 1, "log_queries": 5, "n_docs": 0, "max_queries": 0} for stage in STAGES},
        workspace=SimpleNamespace(usable_manifest=manifests.get), llms=dict.fromkeys(ASKS, LLM),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "given", "first_again"),
    [
        ({}, {}, None),
        ({}, {"log": True}, "steer"),
        ({"steer": manifest_of("steer", filter="made", log="asked")}, {}, "steer"),
        ({"steer": manifest_of("steer", filter="made", log="asked")}, {"log": True}, None),
        ({}, {"first_stage": "run.trec"}, "evaluate"),
        ({"mine": manifest_of("mine", steer="made") | {"seed": 4}}, {}, "mine"),
        ({"mine": manifest_of("mine", steer="made") | {"versions": {"acclimate": "0.0"}}}, {}, "mine"),
        ({"mine": manifest_of("mine", steer="made") | {"settings": {"setting": 2}}}, {}, "mine"),
        ({"filter": manifest_of("filter", generate="made", labels="others")}, {}, "filter"),
        ({"sample": None}, {}, "sample"),
    ],
)
def test_a_stage_is_done_if_nothing_that_it_was_made_from_changed(changes, given, first_again):
    stages = [*chained()]
    done = stages[: stages.index(first_again)] if first_again else stages
    assert plan._current(run_with(chained() | changes, **given)) == set(done)


def test_a_stage_that_is_done_costs_nothing_and_the_rest_adds_up(monkeypatch):
    costs = {stage: Estimate(3600.0, ASKS.get(stage), 2e6) for stage in chained()} | {"mine": Estimate()}
    for name, value in (
        ("estimates", costs),
        ("provided_stages", {"mine"}),
        ("_current", set()),
        ("models_used", USED),
    ):
        monkeypatch.setattr(plan, name, lambda *_, value=value: value)
    monkeypatch.setattr(plan, "preview", lambda *_: SimpleNamespace(splits={}))
    monkeypatch.setattr(plan, "_flop_per_second", lambda: 1 / plan._SHARE_REACHED)
    run = run_with({})
    run.input.corpus = {}
    run.settings["index"] |= {"language": "en", "max_tokens": 256}
    run.settings["distill"] = {"base": "a/model"}

    def described(*done):
        monkeypatch.setattr(plan, "_current", lambda _: set(done))
        lines = plan.describe(run).splitlines()
        assert "dropped: image 2" in lines
        return {line.split()[0]: line for line in lines if line}

    asked_anew = described()
    assert "9  " in asked_anew["generate"] and "2,500,000" in asked_anew["filter"]
    assert asked_anew["About"].startswith("About 8h 00m in total; openai:gpt-4.1 costs at most $18.00; ")
    assert asked_anew["About"].count("costs at most") == 1
    assert "the index takes about 2.0 MB. Nothing" in asked_anew["About"]
    assert asked_anew["mine"].endswith(" given") and "skipped" in asked_anew["train"]
    assert asked_anew["warning:"].endswith(" so times are those of small ones: org/writer, org/judge")
    partly = described("index", "sample", "generate")
    assert partly["warning:"].endswith(": org/judge")
    assert partly["About"].startswith("About 5h 00m in total; openai:gpt-4.1 costs at most $8.00; ")
    assert "2,000,000" not in partly["generate"]
    assert partly["generate"].endswith(" done") and partly["filter"].endswith(" 1h 00m")
    assert described(*chained())["About"] == "About 0.0s in total; no LLM calls. Nothing was run."


@pytest.mark.parametrize(
    ("n_dev", "n_log", "steers_on"),
    [(0, 0, 0.3 * 90), (0, 8, 0.3 * 90 + 5), (40, 4, 40 + 0.3 * 90 + 2), (0, 1, 0.3 * 90), (100, 8, 100)],
)
def test_a_stage_costs_what_it_reads(n_dev, n_log, steers_on, monkeypatch):
    """Of 90 queries; two of the log are shown in prompts, and at most five choose."""
    for module in (train, evaluate):
        monkeypatch.setattr(module, "pair_flop", lambda _: 1.0)
        monkeypatch.setattr(module, "n_rerankers", lambda _: 2)
    run = run_with({})
    run.input.unjudged_log, run.input.labels.choosing.queries = [""] * n_log, [""] * n_dev
    run.input.labels.measuring.queries = []
    rerank = {"rerank": ["bm25"], "systems": ["dense+reranker@7=1", "dense"], "rerank_depth": 20, "max_queries": 4}
    learn = {"n_ways": 0, "max_steps": 0, "max_queries": 30, "epochs": 3, "batch_size": 4, "gradient_accumulation": 2}
    run.settings |= {
        "steer": {"log_queries": 5}, "generate": {"log_examples": 2}, "sample": {"dev_share": 0.3},
        "evaluate": rerank, "train": learn, "mine": {"n_ways": 6},
    }  # fmt: skip
    assert steer.estimate(run, 90).flop == pytest.approx(SEARCH_FLOP * (steers_on + 0.2 * 90))
    weighed = 2 * 20 * (4 + steers_on)  # the weight of the second system is known
    assert evaluate.estimate(run, 90, 50).flop == pytest.approx(weighed + 2 * 7 * 4)
    rerank["max_queries"] = 0
    assert evaluate.estimate(run, 90, 50).flop == pytest.approx(2 * 20 * (10 + steers_on) + 2 * 7 * 10)
    run.input.labels.measuring.queries = [""] * 3
    assert evaluate.estimate(run, 90, 50).flop == pytest.approx(2 * 20 * (3 + steers_on) + 2 * 7 * 3)
    assert train.estimate(run, 90).flop == TRAINING_FACTOR * 60 * 3 * 6  # no more than two rerankers may read
    assert train.estimate(run, 40).flop == TRAINING_FACTOR * 40 * 3 * 6
    learn |= {"max_steps": 9, "n_ways": 3}
    assert train.estimate(run, 40).flop == TRAINING_FACTOR * 2 * 9 * 8 * 3


@pytest.mark.parametrize("reranker", [None, "a/model"])
@pytest.mark.parametrize("prompts", [("inpars",), ("inpars", "promptagator"), ("adapted", "inpars", "promptagator")])
@pytest.mark.parametrize(("rerankers", "n"), [("one", 1), ("1", 1), ("4", 4), ("prompt", None)])
def test_there_are_as_many_rerankers_as_groups_of_queries(rerankers, n, prompts, reranker):
    settings = {"train": {"rerankers": rerankers}, "generate": {"prompt": prompts}, "seed": {"n_prompts": 5}}
    provided = SimpleNamespace(reranker=reranker)
    run: Any = SimpleNamespace(settings=settings, provided=provided, seeds_prompts="adapted" in prompts)
    of_prompts = {1: 1, 2: 2, 3: 2 + 5}[len(prompts)]  # adapted stands for five
    assert train.n_rerankers(run) == (1 if reranker else n or of_prompts)


def test_a_reranker_that_learns_from_no_negatives_is_refused():
    for n_ways in (1, 2):
        learn = {**dict.fromkeys(("max_steps", "batch_size", "gradient_accumulation"), 1), "base": "some/base"}
        run: Any = SimpleNamespace(settings={"mine": {"n_ways": n_ways}, "train": learn})
        with pytest.raises(SettingError) if n_ways == 1 else nullcontext():
            train.check(run, asks=False)  # nor is a base asked for that is not there
