"""Which queries a judge is asked about: people's first, and none that anything learned from; and what is found."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.api import judge
from acclimate.base.errors import DataError, SettingError
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats.trec import run_writer, write_qrels
from acclimate.corpus.judged_queries import SYNTHETIC, JudgedQueries
from acclimate.corpus.query_log import LoggedQuery, QueryLog
from acclimate.records import Doc, Qrel, Query, ScoredDoc
from acclimate.search.measuring import run_file
from acclimate.search.names import SystemName
from acclimate.stages import judge as stage

QUERIES = [Query(f"q{n:02}", f"query {n}") for n in range(30)]
QRELS = [Qrel(query.query_id, "d", 1) for query in QUERIES]
LOG = QueryLog([LoggedQuery(f"l{n:02}", f"logged {n}", 40 - n) for n in range(30)])


def run_of(split, *, log=LOG, learned=(), chose=(), shown=3, most=0, seed=0, **sides) -> tuple[Any, Any]:
    """A finished run that was measured on queries of this split, and its outputs. sides: its synthetic queries."""
    run = SimpleNamespace(
        seed=seed,
        settings={"evaluate": {"max_queries": most}, "generate": {"log_examples": shown}},
        input=SimpleNamespace(unjudged_log=log, documents={"d": None}),
    )
    measuring, choosing = JudgedQueries(split, QUERIES, QRELS), JudgedQueries("dev", chose, [])
    steered = SimpleNamespace(measuring=lambda *_: measuring, choosing=lambda *_: choosing)
    filtered = SimpleNamespace(sides=lambda _: {"train": [], "dev": [], **sides})
    sampled, labeled = SimpleNamespace(shown={"an example"}), SimpleNamespace(log_queries=learned)
    return run, {"steer": steered, "sample": sampled, "filter": filtered, "label": labeled, "distill": None}


def chosen(run, outputs, n=100, **files):
    return judge._queries_to_judge(run, outputs, **{"queries": None, "log": None, "grades": None, **files}, n=n)


@given(st.integers(1, 40), st.integers(0, 35), st.integers(0, 99))
def test_labelled_queries_that_were_measured_come_with_the_grades_of_people(n, most, seed):
    asked = chosen(*run_of("test", most=most, seed=seed), n=n)
    ids = [query.query_id for query in asked.queries]
    measured = chosen(*run_of("test", most=most, seed=seed)).queries
    assert (asked.kind, ids, asked.of) == ("test", sorted(ids), min(most or 30, 30))
    assert len(ids) == min(n, asked.of)
    assert {*ids} <= {query.query_id for query in measured}
    assert sorted(qrel.query_id for qrel in asked.people) == ids


@given(st.sets(st.integers(0, 29)), st.integers(0, 5), st.integers(0, 99))
def test_of_a_log_no_query_is_asked_about_that_a_prompt_showed_or_a_student_learned(learned, shown, seed):
    given_away = [query.as_query() for n, query in enumerate(LOG.queries) if n in learned]
    run, outputs = run_of(SYNTHETIC, learned=given_away, shown=shown, seed=seed)
    asked = chosen(run, outputs)
    used = {query.query_id for query in given_away} | {query.query_id for query in LOG.draw(shown, seed)}
    left = sorted({query.query_id for query in LOG.queries} - used)
    if left:
        assert (asked.kind, [query.query_id for query in asked.queries], asked.people) == ("log", left, [])
    else:
        assert (asked.kind, asked.people) == (SYNTHETIC, [])
    assert chosen(*run_of("test", learned=given_away)).kind == "test"


@pytest.mark.parametrize("given_as", ["queries", "log"])
def test_given_queries_that_the_run_learned_from_are_left_out_and_those_that_chose_come_last(given_as, tmp_path):
    """Whatever their case, punctuation, spacing and ids."""
    path = tmp_path / ("given.jsonl" if given_as == "queries" else "given.txt")
    texts = ["NEW  one", "Trained on?", "An Example", "logged 7", "held  OUT", "Chose weights", "new two", "logged 29"]
    rows = [json.dumps({"_id": str(n), "text": text}) for n, text in enumerate(texts)]
    path.write_text("\n".join(rows if given_as == "queries" else texts))
    sides = {side: [Query(side, text)] for side, text in (("train", "trained on"), ("dev", "held out"))}
    learned, chose = [LOG.queries[7].as_query()], [Query("c", "chose weights")]
    run, outputs = run_of(SYNTHETIC, learned=learned, chose=chose, shown=0, **sides)
    asked = chosen(run, outputs, n=4, **{given_as: path})
    assert {*(query.text for query in asked.queries)} > {"new two", "logged 29"} and asked.of == 5
    assert (asked.n_learned, asked.n_chose) == (3, 1)
    assert chosen(run, outputs, n=3, **{given_as: path}).n_chose == 0
    del outputs["distill"]  # nothing was trained on synthetic queries
    assert chosen(run, outputs, **{given_as: path}).n_learned == 2
    path.write_text(rows[2] if given_as == "queries" else texts[2])
    with pytest.raises(DataError, match="showed to its LLM, or trained on, all 1 query here"):
        chosen(run, outputs, **{given_as: path})


def test_queries_that_people_graded_come_first_and_grades_of_unknown_queries_and_documents_are_refused(tmp_path):
    grades = tmp_path / "grades.trec"
    grades.write_text("l07 0 d 1\nl09 0 d 0\nsomebody-else's 0 d 1\n")
    asked = chosen(*run_of(SYNTHETIC, shown=0), n=20, grades=grades)
    assert {"l07", "l09"} <= {query.query_id for query in asked.queries}
    assert [(qrel.query_id, qrel.relevance) for qrel in asked.people] == [("l07", 1), ("l09", 0)]
    alone = [chosen(*run_of(SYNTHETIC, shown=0, seed=seed), n=2, grades=grades).queries for seed in range(5)]
    assert all([query.query_id for query in queries] == ["l07", "l09"] for queries in alone)
    for text, said in (
        ("x 0 d 1\n", "none of its queries, such as 'x'"),
        ("l07 0 gone 1\n", "document 'gone' is graded"),
    ):
        grades.write_text(text)
        with pytest.raises(DataError, match=said):
            chosen(*run_of(SYNTHETIC, shown=0), grades=grades)


def test_fewer_people_s_grades_are_kept_than_given_if_fewer_queries_are_asked_about():
    asked = chosen(*run_of("test"), n=5)
    assert len(asked.people) == len(asked.queries) == 5


def test_the_llm_is_that_of_the_filter_unless_named_and_has_limits_and_no_secret(monkeypatch, tmp_path):
    told: dict[str, Any] = {}

    class Checked(Exception):
        pass

    def check(run, settings):
        told.update(settings, limits=run.budget.limits)
        raise Checked

    run = SimpleNamespace(settings={"filter": {"llm": "of-filter"}, "generate": {"llm": "of-generate"}})
    monkeypatch.setattr(judge, "open_run", lambda *_: (run, {}))
    monkeypatch.setattr(judge.stage, "check", check)
    for llm, expected in ((None, "of-filter"), ("another", "another")):
        with pytest.raises(Checked):
            judge.judge(tmp_path, llm=llm, max_cost=2.0, max_tokens=70, depth=20)
        assert (told["llm"], told["depth"], told["prompt"]) == (expected, 20, "relevance")
        assert (told["limits"][""].cost, told["limits"][""].tokens) == (2.0, 70)
    with pytest.raises(SettingError, match="secret"):
        judge.judge(tmp_path, llm="openai:m@http://me:hunter2@there/v1")


@pytest.mark.parametrize(("asked", "candidate"), [("lava", "bm25"), ("lava", "x"), ("salt", "bm25"), ("salt", "x")])
def test_queries_are_searched_unless_these_very_ones_were_measured(asked, candidate, monkeypatch, tmp_path):
    def search(_, queries, __, ___, folder, ____):
        with run_writer(run_file(folder, "bm25"), tag="bm25") as write:
            write([ScoredDoc("1", queries[0].text, 1.0)])

    for name in ("members_of", "rerankers", "contenders"):
        monkeypatch.setattr(stage, name, lambda *_: {})
    monkeypatch.setattr(stage, "write_runs", search)
    old, new, queries = tmp_path / "evaluate", tmp_path / "judge", [Query("1", asked)]
    search(None, [Query("1", "lava")], None, None, old, None)
    write_qrels(old / "qrels.trec", [Qrel("1", "d", 1)])
    chosen = SimpleNamespace(candidate=candidate)
    evaluated = SimpleNamespace(folder=old, names=[SystemName("bm25")], chosen=chosen)
    measured = SimpleNamespace(queries=[Query("1", "lava"), Query("2", "salt")])
    outputs: Any = {"evaluate": evaluated, "steer": SimpleNamespace(measuring=lambda *_: measured), "sample": None}
    corpus = Corpus.of([Doc("d", "lava")])
    run: Any = SimpleNamespace(input=SimpleNamespace(corpus=corpus), store=SimpleNamespace(scores=nullcontext))
    if asked != "lava" and candidate == "x":
        with pytest.raises(SettingError, match="the verdict is on x, which answers only the queries of its run"):
            stage._runs(run, outputs, queries, new, lambda *_: None)
    else:
        assert stage._runs(run, outputs, queries, new, lambda *_: None) == {"bm25": [ScoredDoc("1", asked, 1.0)]}


grades = st.none() | st.integers(0, 3)


@given(st.lists(st.tuples(grades, grades, grades), max_size=6))
def test_a_judge_tells_apart_as_many_pairs_of_a_first_result_and_a_random_document_as_it_grades_in_order(graded):
    """Ties count half. What is second in every run is no first result, and what has no grade is not counted."""
    rows, runs = [], {"bm25": [], "dense": []}
    for number, of in enumerate(graded):
        query_id = f"q{number}"
        rows += [
            {"query_id": query_id, "doc_id": doc_id, "grade": grade, "control": doc_id == "random"}
            for doc_id, grade in zip(("first", "second", "random"), of, strict=True)
        ]
        for hits in runs.values():
            hits += [ScoredDoc(query_id, doc_id, score) for doc_id, score in (("first", 2.0), ("second", 1.0))]
    firsts, randoms = ([of[place] for of in graded if of[place] is not None] for place in (0, 2))
    pairs = [(first > other) + 0.5 * (first == other) for first in firsts for other in randoms]
    assert stage._told_apart(rows, runs) == pytest.approx(sum(pairs) / len(pairs) if pairs else 0.0, abs=1e-5)


def test_differences_on_synthetic_queries_must_exceed_their_error(monkeypatch):
    asked: list[float] = []
    monkeypatch.setattr(stage, "conclusion", lambda *given: asked.append(given[-1].min_difference))
    run, outputs = run_of("synthetic")
    outputs["evaluate"] = SimpleNamespace(measured={"systems": []}, chosen=SimpleNamespace(candidate="dense"))
    for kind in ("synthetic", "log", "given"):
        stage._evaluation(run, outputs, stage.JudgeQueries(kind, [], 0), {}, {})
    assert asked == [0.025, 0.0, 0.0]
