"""Queries that choose, as what is chosen by them reads them: a log's, people's judged ones, and synthetic ones."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
from test_steer import FEW, MANY

from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.base.files import write_json, write_jsonl
from acclimate.base.testing import DOCS
from acclimate.base.words import normalized
from acclimate.corpus.collections import Collection
from acclimate.corpus.documents import Corpus
from acclimate.corpus.judged_queries import JUDGED, LOG, NOTHING_JUDGED, JudgedQueries, Labels
from acclimate.corpus.query_log import LoggedQuery, QueryLog
from acclimate.corpus.self_matches import SelfMatches
from acclimate.records import Qrel, Query, SyntheticQuery
from acclimate.search.members import Ids
from acclimate.search.weights import relevance_of
from acclimate.stages import sample
from acclimate.stages import steer as stage
from acclimate.stages.sample import Sampled
from acclimate.stages.steer import JudgedQuery, Steered, Steering

ROWS = [
    {"query_id": "s0", "text": "lava", "weight": 0.4, "group": MANY, "grades": {"d00": 4, "d01": 2}},
    {"query_id": "s1", "text": "snow", "weight": 0.1, "group": FEW, "grades": {"d01": 5}},
    {"query_id": "l0", "text": "moon", "weight": 0.5, "group": LOG, "grades": {"d05": 2}},
]


def dev_queries(n):
    queries = [Query(f"dev{number}", f"dev query {number}") for number in range(n)]
    return JudgedQueries("dev", queries, [Qrel(query.query_id, DOCS[0].doc_id, 1) for query in queries])


def run_with(labelled, measuring=NOTHING_JUDGED):
    """What `steer` reads of a run."""
    labels = SimpleNamespace(choosing=labelled, measuring=measuring)
    documents = {doc.doc_id: doc for doc in DOCS}
    return SimpleNamespace(input=SimpleNamespace(labels=labels, documents=documents))


@pytest.fixture
def steered(tmp_path):
    write_jsonl(tmp_path / "choosing.jsonl", ROWS)
    write_jsonl(tmp_path / "measuring.jsonl", [{**ROWS[0], "weight": 1.0, "group": ""}])
    return Steered(tmp_path, {}, True)


SAMPLED = SimpleNamespace(name="sample", fingerprint="", shown=set())


def test_what_was_written_is_what_chooses(steered):
    choosing = steered.choosing(run_with(NOTHING_JUDGED), SAMPLED)
    assert str(choosing) == "2 synthetic queries and 1 of a log"
    assert choosing.is_synthetic
    assert choosing.sources == {"s0": "d00", "s1": "d01"}  # nobody wrote a log's query for a document
    assert choosing.grades == {row["query_id"]: row["grades"] for row in ROWS}
    assert steered.logged == ["moon"]
    answers = relevance_of(choosing, Ids([doc.doc_id for doc in DOCS]))
    assert answers.weights == pytest.approx([0.4, 0.1, 0.5])
    assert list(answers.groups) == [MANY, FEW, LOG]
    assert answers.grades[0] == {0: 4, 1: 2}
    assert choosing.mean({"s0": 1.0, "s1": 0.0, "l0": 0.5}) == pytest.approx(0.65)
    measuring = steered.measuring(run_with(NOTHING_JUDGED), SAMPLED)
    assert (str(measuring), measuring.weights, measuring.groups) == ("1 synthetic query", {"s0": 1.0}, {"s0": ""})


def test_many_judged_queries_replace_all_others_and_few_choose_beside_them(steered):
    many = dev_queries(100)
    assert steered.choosing(run_with(many), SAMPLED).queries == many.queries
    few = dev_queries(25)
    choosing = steered.choosing(run_with(few), SAMPLED)
    assert [query.query_id for query in choosing.queries] == [row["query_id"] for row in ROWS] + [
        query.query_id for query in few.queries
    ]
    assert str(choosing) == "2 synthetic queries, 1 of a log and 25 judged ones"
    weights = relevance_of(choosing, Ids([doc.doc_id for doc in DOCS])).weights
    assert weights[3:] == pytest.approx([1 / 75] * 25)  # 25 / (25 + 50) of all
    assert weights[:3] == pytest.approx([0.4 * 2 / 3, 0.1 * 2 / 3, 0.5 * 2 / 3])
    assert set(choosing.groups.values()) == {MANY, FEW, LOG, JUDGED}
    assert steered.measuring(run_with(few, few), SAMPLED).queries == few.queries


def test_a_synthetic_query_that_somebody_judged_chooses_once_by_that_judgment(steered):
    choosing = steered._read("choosing")
    graded = JudgedQueries("dev", [Query("s1", "snow")], [Qrel("s1", "d07", 3)])
    both = choosing.combined_with(graded)
    assert [query.query_id for query in both.queries] == ["s0", "l0", "s1"]
    assert both.grades["s1"] == {"d07": 3}
    assert both.weights["s1"] == pytest.approx(0.9 / 50)
    assert both.groups["s1"] == JUDGED
    every = JudgedQueries("dev", choosing.queries, [Qrel(query.query_id, "d07", 1) for query in choosing.queries])
    assert choosing.combined_with(every) is every


def test_queries_of_the_log_that_prompts_show_do_not_choose(steered):
    log = QueryLog([LoggedQuery(f"l{number}", f"query {number}", number) for number in range(9, 0, -1)])
    run = run_with(NOTHING_JUDGED)
    run.input.unjudged_log, run.input.corpus = log, SimpleNamespace(fingerprint="")
    run.seed, run.read = 0, lambda *_: {}
    other = SimpleNamespace(name="other", fingerprint="")
    for n_shown, n_choosing in ((0, 9), (3, 6), (3, 2), (9, 5)):
        inputs = {}
        run.settings = {"steer": {"log_queries": n_choosing}, "generate": {"log_examples": n_shown}}
        run.make = lambda *_, **said: inputs.update(said["inputs"]) or steered  # noqa: B023
        stage.make(run, other, SAMPLED, other)
        shown = log.draw(n_shown, run.seed)
        choosing = [query for query in log.draw(n_shown + n_choosing, run.seed) if query not in shown]
        expected = fingerprint(sorted(query.as_query() for query in choosing)) if choosing else None
        assert inputs.get("log") == expected


def test_judged_queries_that_prompts_show_do_not_choose(steered):
    few, many = dev_queries(2), dev_queries(100)
    sampled = SimpleNamespace(**{**vars(SAMPLED), "shown": {normalized(query.text) for query in many.queries[1:]}})
    assert len(steered.choosing(run_with(few), sampled).queries) == len(ROWS) + 1
    assert len(steered.choosing(run_with(many), sampled).queries) == 1
    sampled.shown.add(normalized(many.queries[0].text))
    assert len(steered.choosing(run_with(few), sampled).queries) == len(ROWS)
    other, test = SimpleNamespace(name="other", fingerprint=""), replace(few, split="test")
    for labels, said in (((many,), "100 queries of the dev"), ((NOTHING_JUDGED, test), "2 queries of the test")):
        run = run_with(*labels)
        run.settings = {"steer": {}}
        with pytest.raises(DataError, match=f"prompts show all {said} split, so none is left to"):
            stage.make(run, other, sampled, other)


def test_labelled_queries_that_a_prompt_file_shows_are_known_and_not_measured(tmp_path):
    prompt = tmp_path / "mine.toml"
    shots = [f'[[examples]]\ndocument = "a"\nquery = "{query}"\n' for query in ("TEST  query", "Dev", "another")]
    prompt.write_text("".join(["example = '{document}{query}'\ntarget = '{document}'\n", *shots]))
    of_split = {
        split: JudgedQueries(split, [Query(split, f"{split}{rest}")], [])
        for split, rest in (("test", " query"), ("dev", ""))
    }
    labels = SimpleNamespace(measuring=of_split["test"], choosing=of_split["dev"])
    settings = {"generate": {"prompt": ("question", f"{prompt}:0.5")}, "seed": {"prompt": ("question",)}}
    run = SimpleNamespace(settings=settings, seeds_prompts=False, input=SimpleNamespace(labels=labels))
    assert sample._in_prompts(run) == ["dev", "test query"]
    write_json(tmp_path / "in_prompts.json", ["test query"])
    assert Sampled(tmp_path, {}, True).shown == {"test query"}


def test_the_dev_split_chooses_only_beside_a_test_split_and_only_with_relevant_documents():
    test, dev = [Qrel("a", "d00", 1)], [Qrel("b", "d00", 1), Qrel("c", "d01", 0)]

    def labels(**qrels):
        found = Labels(Collection("c", Corpus.of(DOCS), [Query(query_id, query_id) for query_id in "abc"], qrels))
        assert (found.test_share == 0) is bool(found.measuring.queries)
        return [[query.query_id for query in judged.queries] for judged in (found.measuring, found.choosing)]

    assert labels(test=test, dev=dev) == [["a"], ["b"]]
    assert labels(test=test, dev=[*dev, *test]) == [["a"], ["b"]]  # what measures chooses nothing
    assert labels(dev=dev) == [["b", "c"], []]
    assert labels(train=test) == [[], []]


@pytest.mark.parametrize(("text", "alike"), [("what is  LAVA", True), ("¿?", False), ("lava?", False)])
def test_queries_that_differ_in_punctuation_only_are_the_same(text, alike):
    queries = [Query("a", "What is lava?"), Query("b", text), Query("c", "!")]
    qrels = {split: [Qrel(query_id, "d00", 1)] for split, query_id in (("test", "a"), ("dev", "b"))}
    assert Labels(Collection("c", Corpus.of(DOCS), queries, qrels)).choosing.queries == queries[1:2] * (not alike)
    logged = [LoggedQuery(*query, 1) for query in queries]
    assert QueryLog(logged).unlike([text]) == [query for query in logged if query.text != text][alike:]


def test_all_that_a_choice_rests_on_is_in_its_fingerprint_whatever_the_order():
    one = JudgedQueries("dev", [Query("a", "x"), Query("b", "y")], [Qrel("a", "1", 1), Qrel("b", "2", -1)])
    changes = [
        {"queries": [Query("a", "z"), Query("b", "y")]},
        {"qrels": [Qrel("a", "1", 2), Qrel("b", "2", -1)]},
        {"self_matches": SelfMatches({"a": frozenset("1")}, are_usual=True)},
        {"weights": {"a": 2.0}},
        {"groups": {"a": LOG}},
    ]
    assert len({judged.fingerprint for judged in (one, *(replace(one, **change) for change in changes))}) == 6
    assert replace(one, queries=one.queries[::-1], qrels=one.qrels[::-1]).fingerprint == one.fingerprint
    assert one.grades == {"a": {"1": 1}, "b": {"2": 0}}


@pytest.mark.parametrize(("n_dev", "n_test"), [(0, 0), (99, 0), (100, 0), (100, 3), (5, 3)])
def test_queries_are_graded_where_judged_ones_do_not_suffice_and_those_left_out_are_counted(
    n_dev, n_test, tmp_path, monkeypatch
):
    synthetic = {side: [SyntheticQuery(side, side, "d00", 0.0)] * count for side, count in (("dev", 4), ("test", 2))}

    def graded(dev, test, log, *_, **__):
        queries = [JudgedQuery(query.as_query(), {"d00": 2}) for query in (*dev, *test)]
        seen.append((len(dev), len(test), len(log)))
        return Steering(queries[: len(dev)], queries[len(dev) :], {})  # nothing is agreed on for a query of the log

    def make(_, work, **__):
        accounts.append(work(tmp_path, None))
        return Steered(tmp_path, {}, True)

    seen, accounts = [], []
    monkeypatch.setattr(stage, "steer", graded)
    monkeypatch.setattr(stage, "Neighbors", lambda *_: None)
    run = run_with(dev_queries(n_dev), dev_queries(n_test))
    log = QueryLog([LoggedQuery(f"l{number}", f"query {number}", 1) for number in range(3)])
    run.input.unjudged_log, run.input.corpus = log, SimpleNamespace(fingerprint="")
    run.settings = {"steer": {"log_queries": 9}, "generate": {"log_examples": 0}}
    run.base = SimpleNamespace(ids=None, bm25=None, vectors=None)
    run.seed, run.read, run.make = 0, lambda *_: {}, make
    run.candidates = lambda _: nullcontext(SimpleNamespace(candidates=None))
    other = SimpleNamespace(name="other", fingerprint="", sides=lambda _: synthetic)
    stage.make(run, other, SAMPLED, other)
    n_choosing, n_log, n_measuring = (0, 0, 0 if n_test else 2) if n_dev >= 100 else (4, 3, 0 if n_test else 2)
    assert seen == [(n_choosing, n_measuring, n_log)]
    (account,) = accounts
    assert (account.read, account.kept) == (n_choosing + n_log + n_measuring, n_choosing + n_measuring)
    assert account.dropped == ({"nothing agreed on": 3} if n_log else {})
