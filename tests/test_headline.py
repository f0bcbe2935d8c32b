"""A run as InPars has it: a reranker, no student, BM25's documents and somebody's run re-ranked by it alone."""

from __future__ import annotations

import json

import pytest
from chain import contents, fake_answers, report_of, write_labels
from files_page import undocumented
from tiny import write_cross_encoder

import acclimate
from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli.main import main
from acclimate.corpus.formats import read_run, write_run
from acclimate.records import ScoredDoc
from acclimate.search.names import SystemName
from acclimate.search.scorers import cached as keeping

pytestmark = pytest.mark.usefixtures("fake_llm")

HEADLINE, BROUGHT = "bm25+reranker@30=1", "first-stage+reranker@10=1"
CHANGES = (
    "distill.student=",
    "evaluate.rerank=",
    f"evaluate.systems={HEADLINE},{BROUGHT}",
    "evaluate.measures=R@1000,AP,Judged@10,P@3",
    "evaluate.max_queries=0",
)


@pytest.fixture(scope="module")
def arguments(corpus, tmp_path_factory):
    """Labels, and a run that has the answer of all queries but the first second."""
    folder = tmp_path_factory.mktemp("brought")
    queries, qrels = write_labels(folder)
    hits = [
        ScoredDoc(query.query_id, DOCS[(at + step) % len(DOCS)].doc_id, float(rank))
        for at, query in enumerate(QUERIES)
        for rank, step in ((2, 1), (1, 0), (0, 2))
        if at
    ]
    write_run(folder / "brought.trec", hits)
    return corpus, "--queries", queries, "--qrels", qrels, "--first-stage", str(folder / "brought.trec")


@pytest.fixture(scope="module")
def headline(arguments, run_adapt, tmp_path_factory):
    corpus, *options = arguments
    out = tmp_path_factory.mktemp("headline") / "run"
    with fake_answers():
        assert run_adapt(corpus, out, *options, changes=CHANGES) == 0
    return out


def test_the_verdict_is_about_the_reranker_alone_and_a_run_is_compared_with_and_never_served(headline, capsys):
    report = report_of(headline)
    by_name = {system["name"]: system for system in report["systems"]}
    assert {"first-stage", HEADLINE, BROUGHT, "bm25", "hybrid", "hybrid:tuned"} <= by_name.keys()
    assert not [name for name in by_name if name.endswith(":adapted")]
    assert report["candidate"] == HEADLINE
    assert (by_name[HEADLINE]["kind"], by_name[HEADLINE]["adapted"]) == ("reranked", True)
    assert (by_name["first-stage"]["kind"], by_name["first-stage"]["untouched"]) == ("run", True)
    assert report["recommended"] not in ("first-stage", BROUGHT)
    assert {"first-stage", BROUGHT}.isdisjoint(equal["system"] for equal in report["recommendation"]["equals"])
    assert (report["teachers"], report["students"]) == ([], {})
    pairs = {(row["system"], row["baseline"]) for row in report["comparisons"]}
    assert {(HEADLINE, "bm25"), (BROUGHT, "first-stage")} <= pairs
    assert [(step["from"], step["to"]) for step in report["steps"] if step["step"] == "reranker"] == [
        ("first-stage", BROUGHT), ("bm25", HEADLINE),
    ] or {step["to"] for step in report["steps"] if step["step"] == "reranker"} == {HEADLINE, BROUGHT}  # fmt: skip
    assert undocumented(headline) == set()
    assert main(["report", str(headline)]) == 0
    shown = capsys.readouterr().out
    assert "first-stage has no results for 1 of the 40 queries" in " ".join(shown.split())
    assert "first-stage has at most 3 results for a query: if it was cut off there, nDCG@10," in " ".join(shown.split())
    assert "R@1000" in shown and "P@3" in shown
    [line] = [line for line in shown.splitlines() if line.startswith("first-stage+") and line.endswith(("B", "-"))]
    assert line.endswith("-")  # nothing is known of an engine's index
    page = (headline / "report.html").read_text()
    assert "your own run" in page and "Judged@10" in page


def test_measures_are_the_contract_s_and_those_asked_for_and_say_who_computed_them(headline):
    asked = ["nDCG@10", "R@100", "RR@10", "Success@5", "R@1000", "AP", "Judged@10", "P@3"]
    for system in report_of(headline)["systems"]:
        assert set(system["measures"]) == set(system["intervals"]) == set(asked)
    manifest = json.loads((headline / "evaluate" / "manifest.json").read_text())
    assert set(manifest["notes"]["providers"]) == set(asked)
    assert manifest["notes"]["providers"]["Judged@10"].startswith("judged (ir_measures")
    too_low = [name for name in asked if "@" in name and name != "P@3"]
    assert manifest["notes"]["first_stage"] == {"missing": 1, "deepest": 3, "too_low": too_low}
    qrels, runs = headline / "evaluate" / "qrels.trec", headline / "evaluate" / "runs"
    table = acclimate.evaluate_run(qrels, runs / "bm25+reranker@30=1.trec", measures=asked)
    [system] = [system for system in report_of(headline)["systems"] if system["name"] == HEADLINE]
    assert table[0].measures == pytest.approx(system["measures"], abs=1e-5)


def test_the_reranker_alone_orders_bm25_s_first_and_leaves_the_rest_below_them(headline):
    runs = {}
    for name in ("bm25", HEADLINE, "first-stage", BROUGHT):
        for hit in read_run(headline / "evaluate" / "runs" / f"{name}.trec"):
            runs.setdefault(name, {}).setdefault(hit.query_id, []).append(hit)
    assert len(runs["first-stage"]) == len(runs[BROUGHT]) == len(QUERIES) - 1
    for query_id, hits in runs[HEADLINE].items():
        first = [hit.doc_id for hit in runs["bm25"][query_id]]
        ranked = [hit.doc_id for hit in hits]
        assert sorted(ranked[:30]) == sorted(first[:30])
        assert ranked[30:] == first[30:]
        assert hits == sorted(hits, key=lambda hit: -hit.score)


def test_what_is_served_can_be_searched_by_name_and_a_run_cannot(headline):
    run = acclimate.open(headline)
    assert "reranker" in run.search(QUERIES[0].text, k=3, system=HEADLINE)[0].members
    for name in ("first-stage", BROUGHT):
        with pytest.raises(SettingError, match="answers only its own queries"):
            run.search("lava", system=name)


def test_a_killed_evaluation_goes_on_with_what_was_scored_and_comes_to_the_same_bytes(
    headline, arguments, run_adapt, tmp_path, monkeypatch
):
    corpus, *options = arguments
    out, asked = tmp_path / "run", []
    score_calls = keeping.CachedScorer.score_calls

    def dying(self, calls):
        for scores in score_calls(self, calls):
            asked.append(len(scores))
            if len(asked) == 4:
                raise KeyboardInterrupt
            yield scores

    monkeypatch.setattr(keeping.CachedScorer, "score_calls", dying)
    assert run_adapt(corpus, out, *options, changes=CHANGES) == 130
    monkeypatch.setattr(keeping.CachedScorer, "score_calls", score_calls)
    kept = []
    get = keeping.ValueCache.get
    monkeypatch.setattr(keeping.ValueCache, "get", lambda self, keys: kept.append(get(self, keys)) or kept[-1])
    assert run_adapt(corpus, out, *options, changes=CHANGES) == 0
    assert sum(map(bool, kept)) >= 3
    assert contents(out) == contents(headline)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("evaluate.systems=bm52+reranker@30=1", "Did you mean 'bm25'"),
        ("evaluate.systems=bm25+cross-encoder:nowhere/at-all@30=1", "nowhere/at-all"),
        ("evaluate.systems=first-stage+reranker=1", "no system named 'first-stage'"),
        ("evaluate.measures=nDCG@10,ndcg_cut_20", "Did you mean 'nDCG@20'"),
        ("evaluate.measures=NumRet", "counts over all queries"),
    ],
)
def test_systems_and_measures_that_cannot_be_are_refused_before_work_begins(
    corpus, run_adapt, tmp_path, capsys, change, message
):
    assert run_adapt(corpus, tmp_path / "run", changes=(change,)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "index").exists()


def test_a_run_of_other_documents_or_queries_is_refused_before_work_begins(arguments, run_adapt, tmp_path, capsys):
    corpus, *options, path = arguments
    labels, option = options[:-1], options[-1]
    for line, message in (
        (
            "q01 Q0 nothing 1 1 t",
            "1 of its lines are for documents missing from the corpus, the first 'nothing'",
        ),
        (f"other Q0 {DOCS[0].doc_id} 1 1 t", "it has none of the evaluation queries"),
    ):
        (tmp_path / "bad.trec").write_text(line + "\n")
        assert run_adapt(corpus, tmp_path / "run", *labels, option, str(tmp_path / "bad.trec")) == 2
        assert message in capsys.readouterr().err
    assert run_adapt(corpus, tmp_path / "run", option, path) == 2
    assert "give labelled ones with --queries and --qrels" in capsys.readouterr().err
    assert not (tmp_path / "run" / "index").exists()


def test_a_reranker_by_name_is_measured_and_searched_like_the_run_s_own(copied, tiny_encoder, tmp_path, capsys):
    write_cross_encoder(tmp_path / "their model", tiny_encoder)
    names = [f"bm25+cross-encoder:{tmp_path / 'their model'}{options}" for options in ("@10", "@4=1")]
    assert main(["evaluate", str(copied), "--systems", ",".join(names)]) == 0
    report = report_of(copied)
    by_name = {system["name"]: system for system in report["systems"]}
    for name in names:
        assert (by_name[name]["kind"], by_name[name]["adapted"]) == ("reranked", False)
        run = copied / "evaluate" / "runs" / f"{SystemName(name).file_name}.trec"
        assert run.is_file()
        assert acclimate.open(copied).search("lava", k=2, system=name)
    assert [row["value"] for row in report["tried"] if row["what"] == f"weights of {names[0]}"]
    assert not [row for row in report["tried"] if row["what"] == f"weights of {names[1]}"]
    assert report["held_out_ndcg"].keys() & {*names} == {names[0]}  # students compete, so the other need not
