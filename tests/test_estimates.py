"""What stages are estimated to take, against what they compute and ask an LLM."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from test_seed import DOCS, Asker
from test_sizes import run_of

from acclimate.base.testing import FakeLLM
from acclimate.corpus import survey
from acclimate.llm import Completions
from acclimate.llm.estimate import Calls
from acclimate.llm.grade import GRADE_TOKENS, ask_grades, calls_of_grading
from acclimate.llm.lengths import about_tokens, characters_in
from acclimate.llm.prompts import Material
from acclimate.llm.prompts.files import write_toml
from acclimate.records import SyntheticQuery
from acclimate.run.estimate import (
    ENCODER_FLOP,
    LLM_FLOP,
    SEARCH_FLOP,
    TRAINING_FACTOR,
    Estimate,
    llm_estimate,
    token_flop,
)
from acclimate.run.run import Run
from acclimate.search.names import STUDENT_KINDS
from acclimate.stages import distill, filter, generate, index, label, mine, seed
from acclimate.stages.chain import estimates
from acclimate.stages.distill import _LEARNING
from acclimate.stages.label import _PAIR_TOKENS
from acclimate.stages.sample import preview
from acclimate.stages.unseen import n_taught

QUERIES = [SyntheticQuery(f"q{n}", f"query {n} of many", "d", -n) for n in range(10)]


class Counting(Counter[str]):
    """Judges that everything passes, and the number of queries that each score was asked for."""

    def ranks(self, retriever, queries, depth):
        return self._count("teacher" if retriever == "teacher" else "round-trip", queries)

    def consistency_ranks(self, queries):
        return self._count("consistency", queries)

    def are_copied(self, queries):
        return [0.0] * len(queries)

    def rerank(self, model, queries, max_tokens):
        return self._count("reranker", queries)

    def grade(self, llm, prompt, queries):
        return self._count("grade", queries)

    def _count(self, score, queries):
        self[score] += len(queries)
        return [3.0 if score == "grade" else 1.0] * len(queries)


@given(
    st.lists(st.sampled_from(filter.NAMES), unique=True),
    st.integers(1, 12),
    st.sampled_from(filter.SCORES),
    st.sampled_from(["hybrid", "trained"]),
)
def test_a_filter_costs_what_is_computed_and_asked_for_the_queries_that_reach_it(filters, keep, percentile_of, by):
    passing: dict[str, Any] = {"min_tokens": 0, "min_difference": 0.0, "min_percentile": 0.0}
    settings: dict[str, Any] = {
        "filters": tuple(filters), "keep_top_k": keep, "percentile_of": percentile_of, "retriever": by,
        "reranker": "nobody/reranker", "reranker_tokens": 64, "llm": "openai:gpt-4.1", "judge": "grade",
    }  # fmt: skip
    judges = Counting()
    kept = filter.filter_queries(QUERIES, judges, **passing, **settings)
    run: Any = SimpleNamespace(
        settings={
            "filter": settings, "generate": {"max_new_tokens": 9}, "distill": {"epochs": 5}, "mine": {"n_ways": 4},
            "train": {"base": "nobody/base", "max_tokens": 32, "n_ways": 0, "epochs": 2},
        },
        seeds_prompts=False, provided=SimpleNamespace(brings_queries=True),
    )  # fmt: skip
    trains, consistency = by == "trained", filter.DEPTH + TRAINING_FACTOR * 2 * 4
    flop = SEARCH_FLOP * (judges["round-trip"] * (1 + TRAINING_FACTOR * 5 * trains) + judges["teacher"])
    flop += (SEARCH_FLOP + ENCODER_FLOP * 32 * consistency) * judges["consistency"]
    flop += ENCODER_FLOP * 64 * judges["reranker"]
    estimate, is_judged = filter.estimate(run, len(QUERIES)), judges["grade"] > 0
    assert estimate.flop == pytest.approx(flop)
    assert (estimate.calls.calls if estimate.calls else 0) == judges["grade"]
    assert filter.most_kept(run, len(QUERIES)) == len(kept.queries)
    assert ("filter" in Run.llms.fget(run)) == is_judged  # type: ignore[misc]


def asked_of(estimate: Estimate) -> Calls:
    assert estimate.calls is not None
    return estimate.calls


class Measured(Asker):
    """Counts the tokens of prompts as a server without counts has them; every question is as long as it may be."""

    fingerprint = "measured"

    def cut(self, text, max_tokens):
        return text[: characters_in(text, max_tokens)]

    def _answer(self, prompt):
        answer = super()._answer(prompt)
        text = answer.text if prompt.endswith("Bad Question:") else f"{answer.text} {prompt[-30:].split()[0]}".ljust(80)
        return answer._replace(text=text, prompt_tokens=about_tokens(prompt), completion_tokens=20)


@pytest.mark.parametrize("own", [("inpars-gbq",), ("long.toml", "zero-shot-query")])
def test_questions_for_prompts_cost_no_more_than_estimated(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if len(own) > 1:
        instruction = "Ask something that the passage answers. " * 200
        (tmp_path / "long.toml").write_text(f'instruction = "{instruction}"\ntarget = "Document: {{document}}\\nQ:"\n')
    settings = {"prompt": own, "n_docs": 20, "per_doc": 1, "max_new_tokens": 20, "n_prompts": 2}
    settings |= {"max_doc_tokens": 30, "temperature": 0.0, "llm": "openai:gpt-4.1"}
    run: Any = SimpleNamespace(settings={"seed": settings}, seeds_prompts=True)
    docs = [doc._replace(text=f"{doc.text} and it was closed {'long ' * 40} after that") for doc in DOCS]
    with Completions(tmp_path / "answers.sqlite") as completions:
        made = seed.seed_prompts(docs, completions, **{**settings, "llm": Measured()})
    calls = asked_of(seed.estimate(run))
    assert calls.calls == 2 * len(made.seeds) == 40  # a good and a bad one each
    assert (0.9 if len(own) == 1 else 0.4) * calls.prompt_tokens < made.tokens["prompt"] <= calls.prompt_tokens
    assert made.tokens["completion"] == calls.completion_tokens
    run.seeds_prompts = False
    assert seed.estimate(run) == Estimate()


@pytest.mark.parametrize(
    "changes",
    [
        ("generate.per_doc=1",),
        ("generate.per_doc=5", "generate.max_new_tokens=20"),  # of three prompts
        ("generate.per_doc=5", "generate.temperature=0.7", "generate.max_doc_tokens=12"),
        ("generate.prompt=adapted,zero-shot-query", "generate.per_doc=9"),
        ("generate.prompt=adapted", "generate.per_doc=9", "generate.temperature=0.7"),
    ],
)
def test_queries_cost_no_more_than_estimated(changes, tmp_path):
    docs = [doc._replace(text=f"{doc.text} {'and on and on ' * (n % 60)}") for n, doc in enumerate(DOCS)]
    run = run_of(tmp_path, docs, "seed.n_docs=20", "sample.windows=0", *changes)
    drawn, settings = preview(run, run.input.corpus, 0.0), {**run.settings["generate"], "llm": Measured()}
    texts, material = drawn.docs(run.input.corpus), Material()
    with Completions(tmp_path / "answers.sqlite") as completions:
        if run.seeds_prompts:
            seeded = seed.seed_prompts(texts, completions, **{**run.settings["seed"], "llm": Measured()})
            paths = [tmp_path / f"{template.name}.toml" for template in seeded.templates]
            for path, template in zip(paths, seeded.templates, strict=True):
                write_toml(path, template)
            material = Material((), paths)
        result = generate.generate(texts, completions, material, **settings)
    calls = asked_of(generate.estimate(run, drawn))
    assert 0 <= calls.calls - len(result.queries) - len(result.rejects) <= 2 * run.seeds_prompts
    assert (0.3 if run.seeds_prompts else 0.99) * calls.prompt_tokens < result.tokens["prompt"] <= calls.prompt_tokens
    assert calls.completion_tokens == calls.calls * settings["max_new_tokens"]


def test_an_index_costs_what_the_encoder_reads_of_each_document_and_labels_what_llms_read(tmp_path):
    docs = [doc._replace(text="x" * 4 * 10 * n, title="") for n, doc in enumerate(DOCS, 1)]
    run = run_of(tmp_path, docs, "index.max_tokens=96", "label.teachers=bm25,yes-no:nobody/llm")
    in_all, n_read = index.estimate(run).flop, sum(min(survey.token_count("x" * 40 * n), 96) for n in range(1, 41))
    assert in_all == pytest.approx(token_flop(run.settings["distill"]["base"]) * n_read)
    for tokens, per_token in (("int8", 384), ("int4", 192), ("none", 0)):
        run.settings["index"]["tokens"] = tokens
        assert index.estimate(run).n_bytes == pytest.approx(len(docs) * 384 * 4 + per_token * n_read)
    ways, lists = run.settings["label"]["reranker_ways"], 9
    read = len(docs) * 50 + lists * ways * _PAIR_TOKENS  # each document once, each query with each of its documents
    assert label.estimate(run, 5, lists, 50, 0).flop == pytest.approx(ENCODER_FLOP * read)
    few = label.estimate(run, 5, 1, 50, 0).flop  # a list of fewer documents than there are
    run.settings["label"]["queries"] = "unseen"
    assert label.estimate(run, 5, n_taught(run) + 1, 50, 0).flop == few
    assert few == pytest.approx(ENCODER_FLOP * ways * (50 + _PAIR_TOKENS))


def test_a_model_costs_two_operations_per_weight_that_is_not_looked_up_and_an_llm_here_what_it_writes_too(tmp_path):
    weights = {"layer.weight": np.zeros((10, 10), np.float32), "embed.weight": np.zeros((90, 10), np.float32)}
    save_file(weights, tmp_path / "model.safetensors")
    assert token_flop(str(tmp_path)) == 200
    calls = Calls(2, 999, 10)
    assert llm_estimate("embedded:smollm2-135m-instruct", calls, 5, 7.0) == Estimate(7 + LLM_FLOP * (10 + 2 * 5), calls)
    assert llm_estimate(str(tmp_path), calls, 5, 7.0) == Estimate(7 + 200 * (10 + 2 * 5), calls)
    assert llm_estimate("openai:gpt-4.1", calls, 5, 7.0) == Estimate(7, calls)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file({"few.weight": np.zeros((1, 1), np.float32)}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "embedded:smollm2-135m-instruct"})
    )
    assert token_flop(str(adapter)) == LLM_FLOP


def test_grades_cost_no_more_than_estimated(tmp_path):
    class Long(FakeLLM):
        def cut(self, text, max_tokens):
            return text[: characters_in(text, max_tokens)]

        def _answer(self, prompt):
            return super()._answer(prompt)._replace(prompt_tokens=about_tokens(prompt), completion_tokens=GRADE_TOKENS)

    queries = [query._replace(text="why is that so ".ljust(80, "?")) for query in QUERIES]
    with Completions(tmp_path / "answers.sqlite") as completions:
        _, tokens = ask_grades(queries, [f"{n} {'long ' * 900}" for n in range(10)], completions, Long(), "grade")
    calls = calls_of_grading(10, "grade", 20)
    assert 0.95 * calls.prompt_tokens < tokens["prompt"] <= calls.prompt_tokens
    assert tokens["completion"] == calls.completion_tokens


def test_what_passes_the_filters_bounds_what_later_stages_cost(tmp_path):
    def flop(*changes):
        run = run_of(
            tmp_path, DOCS, "filter.filters=duplicates,logprob", "evaluate.rerank=", *changes, out=f"run-{len(changes)}"
        )
        return {stage: each.flop for stage, each in estimates(run, preview(run, run.input.corpus, 0.0)).items()}

    assert flop("filter.keep_top_k=5")["mine"] == SEARCH_FLOP * 5
    assert flop("filter.keep_top_k=5", "filter.filters=length")["mine"] == flop()["mine"] == SEARCH_FLOP * 30
    retrievers = flop(*("label.teachers=bm25,dense", "evaluate.rerank=", "distill.max_steps=1"))
    assert retrievers["label"] == 0.0 and "train" not in retrievers


def test_students_cost_each_trial_and_read_no_more_queries_than_they_may():
    settings: dict[str, Any] = {
        "student": ("dense-query", "static"), "loss": "kl", "epochs": 3, "max_steps": 0, "batch_size": 4,
        "max_queries": 0, "tune": (), "base": "embedded:all-minilm-l6-v2", "document_ways": 8,
    }  # fmt: skip
    label = {"n_ways": 91, "windows": 15}  # six lists per query
    run: Any = SimpleNamespace(
        settings={"distill": settings, "label": label, "mine": {"n_ways": 4}}, input=SimpleNamespace(corpus=range(1000))
    )

    def n_read(**changes):
        settings.update(changes)
        return distill.estimate(run, 50, 200).flop / (_LEARNING * SEARCH_FLOP * 2)

    assert n_read() == 50 * 6 * 3
    assert n_read(tune=("learning_rate:0.1", "max_queries:20:90"), learning_rate=0.2) == 3 * 6 * (50 + 20 + 50)
    assert n_read(tune=(), max_queries=10) == 10 * 6 * 3
    assert n_read(loss="contrastive") == 10 * 3
    assert n_read(max_steps=7) == 28

    def n_documents(student):
        """How many documents are encoded besides: four passes over those of the lists, and one over the corpus."""
        flop = [distill.estimate(run, 50, 200).flop for settings["student"] in (("dense-query",), student)]
        return (flop[1] - flop[0]) / (token_flop(settings["base"]) * 200)

    settings |= {"max_steps": 7, "loss": "kl"}
    for kind in STUDENT_KINDS:
        expected = 4 * 28 * 8 + 1000 if kind in ("dense", "late-interaction") else 0
        assert n_documents((kind,)) == pytest.approx(expected, abs=0.1)
    settings["loss"] = "contrastive"
    assert n_documents(("dense",)) == pytest.approx(4 * 28 * 4 + 1000)


@pytest.mark.parametrize(
    ("settings", "searches"),
    [
        ({"n_ways": 2, "retriever": "bm25"}, 50),
        ({"n_ways": 1, "retriever": "bm25"}, 0),
        ({"n_ways": 2, "retriever": "a.trec"}, 0),
    ],
)
def test_negatives_cost_searches_only_where_they_are_searched_for(settings, searches):
    run: Any = SimpleNamespace(settings={"mine": settings})
    assert mine.estimate(run, 50).flop == SEARCH_FLOP * searches
