"""A run whose index has no token vectors, or small ones: what it leaves out and refuses; all else is as it was."""

from __future__ import annotations

import numpy as np
import pytest
from chain import FAST, fake_answers, report_of, write_corpus
from test_update import CAME, assert_searches_as_anew

import acclimate
from acclimate.base.errors import SettingError
from acclimate.records import Doc
from acclimate.run.settings import resolve
from acclimate.stages import token_vectors
from acclimate.stages.chain import STAGES


def settings_of(*changes):
    return token_vectors.without_token_vectors(resolve(STAGES, {}, ["index.tokens=none", *changes]), STAGES)


def test_what_needs_token_vectors_is_left_out_where_nobody_named_it():
    settings = settings_of()
    assert settings["label"]["teachers"] == ("bm25", "dense", "reranker")
    assert settings["distill"]["student"] == ("dense-query",)
    token_vectors.check(settings)
    as_it_is = resolve(STAGES, {})
    assert token_vectors.without_token_vectors(as_it_is, STAGES) == as_it_is
    token_vectors.check(as_it_is)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("label.teachers=dense,late-interaction", "label.teachers names late-interaction"),
        ("distill.student=dense,late-interaction-query", "distill.student names late-interaction-query"),
        ("distill.student=sparse", "distill.student names sparse"),
        ("distill.student=static", "distill.student names static"),
        ("label.candidates=late-interaction", "label.candidates names late-interaction"),
        ("filter.retriever=late-interaction", "filter.retriever names late-interaction"),
        ("mine.retriever=late-interaction", "mine.retriever names late-interaction"),
        ("evaluate.rerank=late-interaction", "evaluate.rerank names late-interaction"),
        ("evaluate.systems=late-interaction+reranker@100=1", "evaluate.systems names late-interaction"),
    ],
)
def test_what_needs_them_is_refused_by_name(change, said):
    with pytest.raises(SettingError, match=rf"{said}, which needs token vectors, and index\.tokens is none"):
        token_vectors.check(settings_of(change))


def test_a_run_without_them_is_made_searched_and_updated(corpus, finished, run_adapt, tmp_path):
    out = tmp_path / "run"
    with fake_answers():
        changes = ("index.tokens=none", "distill.epochs=1", "evaluate.max_queries=6", "evaluate.rerank=")
        assert run_adapt(corpus, out, changes=changes) == 0
    vectors, whole = (run / "index" / "vectors" for run in (out, finished))
    assert (vectors / "pooled.npy").read_bytes() == (whole / "pooled.npy").read_bytes()
    assert not len(np.load(vectors / "tokens.npy"))
    report = report_of(out)
    assert {system["name"] for system in report["systems"]} == {
        "bm25", "dense", "hybrid", "hybrid:equal", "hybrid:tuned", "dense:adapted", "hybrid:adapted",
        "hybrid:adapted:feedback",
    }  # fmt: skip
    assert [step["step"] for step in report["steps"]] == [
        "scores added", "weights chosen here", "adapted students", "feedback",
    ]  # fmt: skip

    run = acclimate.open(out)
    run.update(write_corpus(tmp_path / "new.jsonl", [Doc("zircon", "Zircon outlives glaciers.")]))
    hit = run.search("zircon glaciers", k=1, system="hybrid:equal")[0]
    assert (hit.document_id, sorted(hit.members)) == ("zircon", ["bm25", "dense"])


@pytest.mark.slow
def test_shortened_vectors_and_four_bit_tokens_are_updated_as_they_are(corpus, run_adapt, tmp_path):
    out = tmp_path / "run"
    changes = (*FAST, "distill.student=dense", "distill.dim=8", "distill.matryoshka=16", "index.tokens=int4")
    with fake_answers():
        assert run_adapt(corpus, out, changes=changes) == 0
    acclimate.open(out).update(write_corpus(tmp_path / "new.jsonl", CAME))
    assert_searches_as_anew(out, tmp_path / "anew")
