"""Evaluation: the verdict is that of the candidate against the best baseline, and runs say what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import FakeRetriever
from acclimate.corpus.formats import read_run
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.measures import MEASURES, per_query
from acclimate.measure.recommend import Recommendation
from acclimate.records import Qrel, Query, ScoredDoc
from acclimate.search.names import SystemName
from acclimate.stages.evaluate import Contender, evaluate

QUERIES = [Query(f"q{n:02}", f"query {n}") for n in range(40)]
QRELS = [Qrel(query.query_id, f"d{n:02}", 1) for n, query in enumerate(QUERIES)]


def ranker(rank_of):
    """Finds each query's answer at the rank that `rank_of` gives, other documents around it."""
    found = {}
    for n, query in enumerate(QUERIES):
        others = [f"x{at:02}" for at in range(12)]
        others.insert(rank_of(n) - 1, f"d{n:02}")
        found[query.text] = {doc_id: 20.0 - at for at, doc_id in enumerate(others)}
    return FakeRetriever(found)


def contender(name, rank_of):
    return Contender(SystemName(name), ranker(rank_of), 1000, {})


BM25 = contender("bm25", lambda n: 3 + n % 3)
DENSE = contender("dense", lambda n: 2 + n % 3)
GOOD = contender("dense:adapted", lambda n: 1 + n % 2)
BAD = contender("dense:adapted", lambda n: 6)
SAME = contender("dense:adapted", lambda n: 2 + n % 3)
RERANKED = contender("dense+reranker", lambda n: 1)
HYBRIDS = [
    contender("hybrid", lambda n: 2 + n % 2),
    contender("hybrid:equal", lambda n: 2),
    contender("hybrid:tuned", lambda n: 2 if n % 5 else 1),
    contender("hybrid:adapted", lambda n: 1),
]


def evaluated(folder, *contenders, candidate="dense:adapted", queries=QUERIES, qrels=QRELS, split="test", **settings):
    return evaluate(contenders, JudgedQueries(split, queries, qrels), candidate, folder, **settings)


@pytest.mark.parametrize(
    ("adapted", "verdict", "recommended"),
    [(GOOD, "WIN", "dense:adapted"), (BAD, "REGRESSION", "dense"), (SAME, "NO DIFFERENCE", "dense")],
)
def test_the_verdict_and_what_is_recommended(tmp_path, adapted, verdict, recommended):
    found = evaluated(tmp_path, BM25, DENSE, adapted)
    assert (found.verdict, found.recommendation.system) == (verdict, recommended)
    assert (found.candidate, found.baseline) == ("dense:adapted", "dense")
    means = {system["name"]: system["measures"]["nDCG@10"] for system in found.systems}
    assert means[found.recommendation.best] == max(means.values())


def test_the_verdict_is_the_candidate_s_and_what_is_recommended_the_best_of_all(tmp_path):
    found = evaluated(tmp_path, BM25, DENSE, BAD, RERANKED)
    assert (found.verdict, found.recommendation) == (
        "REGRESSION",
        Recommendation("dense+reranker", "dense+reranker", {}),
    )


def test_each_adapted_system_meets_the_best_baseline_and_what_it_came_from(tmp_path):
    lexical = contender("bm25:adapted", lambda n: 2)
    found = evaluated(tmp_path, BM25, DENSE, GOOD, RERANKED, lexical)
    assert [(c.system, c.baseline) for c in found.comparisons if c.measure == "nDCG@10"] == [
        ("dense:adapted", "dense"),
        ("dense+reranker", "dense"),
        ("bm25:adapted", "dense"),
        ("bm25:adapted", "bm25"),
    ]
    assert list(dict.fromkeys(c.measure for c in found.comparisons)) == list(MEASURES)


def test_the_baseline_is_the_best_of_what_people_have(tmp_path):
    late = contender("late-interaction", lambda n: 1)
    found = evaluated(tmp_path, BM25, DENSE, late, *HYBRIDS, candidate="hybrid:tuned")
    assert found.baseline == "hybrid"  # what is better was made here, trained or not
    assert [system["name"] for system in found.systems if system["untouched"]] == ["bm25", "dense", "hybrid"]
    found = evaluated(tmp_path, BM25, contender("dense", lambda n: 1), *HYBRIDS, candidate="hybrid:tuned")
    assert (found.baseline, found.verdict) == ("dense", "REGRESSION")


def test_a_step_from_each_hybrid_to_the_next_and_to_each_reranked_system(tmp_path):
    reranked = contender("hybrid:tuned+reranker", lambda n: 3)
    without = evaluated(tmp_path, BM25, DENSE, *HYBRIDS, candidate="hybrid:adapted")
    assert without.steps[0]["step"] == "scores added"
    systems = [BM25, DENSE, contender("late-interaction", lambda n: 4), *HYBRIDS, RERANKED, reranked]
    found = evaluated(tmp_path, *systems, candidate="hybrid:adapted")
    assert [(step["step"], step["from"], step["to"]) for step in found.steps] == [
        ("late interaction", "hybrid", "hybrid:equal"),
        ("weights chosen here", "hybrid:equal", "hybrid:tuned"),
        ("adapted students", "hybrid:tuned", "hybrid:adapted"),
        ("reranker", "dense", "dense+reranker"),
        ("reranker", "hybrid:tuned", "hybrid:tuned+reranker"),
    ]
    by_name = {system["name"]: system for system in found.systems}
    pairs = {(c.system, c.baseline): c for c in found.comparisons if c.measure == "nDCG@10"}
    for step in found.steps:
        before, after, comparison = by_name[step["from"]], by_name[step["to"]], pairs[step["to"], step["from"]]
        assert step["latency_ms"] == {"from": before["latency_ms"]["p50"], "to": after["latency_ms"]["p50"]}
        assert step["index_bytes"] == {"from": before["index_bytes"], "to": after["index_bytes"]}
        assert (step["delta"], step["wins"]) == (comparison.for_report()["delta"], comparison.wins)
        assert step["adds"] is (step["p"] < 0.05 and step["delta"] > 0)
    means = {name: system["measures"]["nDCG@10"] for name, system in by_name.items()}
    whole = sum(step["delta"] for step in found.steps[:3])
    assert whole == pytest.approx(means["hybrid:adapted"] - means["hybrid"], abs=5e-5)
    assert [step["adds"] for step in found.steps] == [True, True, True, True, False]


def test_a_step_of_which_a_side_was_not_measured_is_not_there(tmp_path):
    hybrid, equal, tuned, adapted = HYBRIDS
    for some, steps in (
        ([hybrid, equal, tuned], ["hybrid:equal", "hybrid:tuned"]),
        ([hybrid, equal, adapted], ["hybrid:equal"]),
        ([hybrid, tuned, adapted], ["hybrid:adapted"]),
    ):
        found = evaluated(tmp_path, BM25, *some, candidate=some[-1].name)
        assert [step["to"] for step in found.steps] == steps


def test_a_step_that_chance_could_give_adds_nothing(tmp_path):
    hardly = contender("hybrid:equal", lambda n: 1 if n < 3 else 2 + n % 2)
    (step,) = evaluated(tmp_path, BM25, HYBRIDS[0], hardly, candidate="hybrid:equal").steps
    assert step["delta"] > 0
    assert step["adds"] is False


def test_differences_as_small_as_synthetic_queries_err_decide_nothing(tmp_path, monkeypatch):
    certain = evaluated(tmp_path, BM25, DENSE, GOOD, *HYBRIDS)
    (difference,) = (c for c in certain.comparisons if (c.system, c.measure) == ("dense:adapted", "nDCG@10")
                     and c.baseline == certain.baseline)  # fmt: skip
    for error, verdict in ((abs(difference.delta) - 0.01, certain.verdict), (1.1, "NO DIFFERENCE")):
        monkeypatch.setattr("acclimate.measure.compare.ERROR_WITHOUT_LABELS", error)
        found = evaluated(tmp_path, BM25, DENSE, GOOD, *HYBRIDS, split="synthetic")
        assert found.verdict == verdict
    assert certain.verdict != "NO DIFFERENCE"
    assert found.recommendation.system in ("bm25", "dense", "hybrid")  # nothing is told from anything
    assert not any(step["adds"] for step in found.steps)


def test_what_is_held_against_itself_never_wins(tmp_path):
    found = evaluated(tmp_path, BM25, DENSE, candidate="dense")
    assert (found.baseline, found.verdict) == ("dense", "NO DIFFERENCE")


def test_the_numbers_are_those_of_the_runs_on_disk(tmp_path):
    found = evaluated(tmp_path, BM25, DENSE, GOOD)
    for system in found.systems:
        name = system["name"]
        run = list(read_run(tmp_path / "runs" / f"{SystemName(name).file_name}.trec"))
        assert {hit.query_id for hit in run} == {query.query_id for query in QUERIES}
        values = per_query(run, QRELS)
        assert values == found.per_query[name]
        for measure in MEASURES:
            assert system["measures"][measure] == pytest.approx(np.mean(list(values[measure].values())), abs=1e-5)
            low, high = system["intervals"][measure]
            assert low <= system["measures"][measure] <= high
        assert 0 <= system["latency_ms"]["p50"] <= system["latency_ms"]["p95"]
        assert system["index_bytes"] == 1000
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "bm25.trec", "dense-adapted.trec", "dense.trec",
    ]  # fmt: skip


class Watched(FakeRetriever):
    """Notes what it was asked together."""

    def search(self, queries, k):
        self.__dict__.setdefault("asked", []).append([query.query_id for query in queries])
        return super().search(queries, k)


@pytest.mark.parametrize(("name", "count"), [("dense", 30), ("dense+reranker", 5)])
def test_latencies_are_those_of_drawn_queries_asked_alone_and_warm_of_what_serves(name, count, tmp_path, monkeypatch):
    monkeypatch.setattr("acclimate.search.measuring._TIMED", 30)
    monkeypatch.setattr("acclimate.search.measuring._TIMED_RERANKED", 5)
    shared, serving = (Watched(DENSE.retriever.scores) for _ in range(2))
    watched = Contender(SystemName(name), shared, 0, {}, serving=serving)
    drawn = []
    for seed in (0, 1):
        shared.asked, serving.asked = [], []
        system = evaluated(tmp_path, BM25, watched, candidate=name, seed=seed).systems[1]
        assert shared.asked == [[query.query_id for query in QUERIES]]
        warm, *alone = serving.asked
        assert warm == alone[0]
        assert len({query_id for (query_id,) in alone}) == len(alone) == system["latency_ms"]["queries"] == count
        drawn.append(alone)
    assert drawn[0] != drawn[1]
    few = evaluated(tmp_path, BM25, watched, candidate=name, max_queries=3).systems[1]
    assert few["latency_ms"]["queries"] == 3


def test_queries_of_which_nothing_is_relevant_count_0_and_those_that_are_not_judged_do_not_count(tmp_path):
    qrels = [*QRELS[:30], *(qrel._replace(relevance=0) for qrel in QRELS[30:35])]
    found = evaluated(tmp_path, DENSE, GOOD, queries=QUERIES[::-1], qrels=qrels)
    values = found.per_query["dense"]["nDCG@10"]
    assert set(values) == {f"q{n:02}" for n in range(35)}
    assert [query_id for query_id, value in values.items() if not value] == [f"q{n:02}" for n in range(30, 35)]
    assert len(evaluated(tmp_path, DENSE, GOOD, qrels=qrels[:9], max_queries=8).per_query["dense"]["nDCG@10"]) == 8


@pytest.mark.parametrize("seed", [0, 1])
def test_fewer_than_all_queries_are_drawn_and_not_the_first(tmp_path, seed):
    few, more, again = (
        evaluated(tmp_path, DENSE, GOOD, queries=queries, max_queries=count, seed=seed).per_query["dense"]["nDCG@10"]
        for queries, count in ((QUERIES, 7), (QUERIES, 20), (QUERIES[::-1], 7))
    )
    assert set(few) == set(again)
    assert len(few) == 7
    assert set(few) < set(more)
    assert set(few) != {f"q{n:02}" for n in range(7)}
    other = evaluated(tmp_path, DENSE, GOOD, max_queries=7, seed=seed + 1).per_query["dense"]["nDCG@10"]
    assert set(other) != set(few)


def test_any_evaluator_gives_our_figures_for_what_is_left(tmp_path):
    """trec_eval, from the files alone: ties, too, and queries without a relevant document."""
    import pytrec_eval

    every = FakeRetriever({q.text: dict.fromkeys("dbca", 1.0) for q in QUERIES})
    tied = Contender(SystemName("dense"), every, 0, {})
    qrels = [Qrel(query.query_id, "abcd"[at % 4], int(at % 5 > 0)) for at, query in enumerate(QUERIES)]
    found = evaluated(tmp_path, tied, GOOD, qrels=qrels, max_queries=30)
    judged: dict = {}
    for line in (tmp_path / "qrels.trec").read_text().splitlines():
        query_id, _, doc_id, grade = line.split()
        judged.setdefault(query_id, {})[doc_id] = int(grade)
    for system in found.systems:
        run: dict = {}
        for line in (tmp_path / "runs" / f"{SystemName(system['name']).file_name}.trec").read_text().splitlines():
            query_id, _, doc_id, _, score, _ = line.split()
            run.setdefault(query_id, {})[doc_id] = float(score)
        theirs = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.100", "success.5"}).evaluate(run)
        for ours, name in (("nDCG@10", "ndcg_cut_10"), ("R@100", "recall_100"), ("Success@5", "success_5")):
            mean = sum(values[name] for values in theirs.values()) / 30
            assert system["measures"][ours] == pytest.approx(mean, abs=1e-5)


def test_runs_are_as_deep_as_the_measures_and_the_seed_draws_the_intervals(tmp_path):
    evaluated(tmp_path, DENSE, GOOD, k=100)
    assert len(list(read_run(tmp_path / "runs" / "dense.trec"))) == 13 * 40
    with pytest.raises(SettingError, match=r"k is 99; expected .*100"):
        evaluated(tmp_path, DENSE, GOOD, k=99)
    deep = FakeRetriever({QUERIES[0].text: {f"d{n:03}": -float(n) for n in range(140)}})
    bm25 = Contender(SystemName("bm25"), deep, 0, {})
    evaluated(tmp_path, bm25, GOOD, qrels=[Qrel("q00", "d120", 1)], measures=("R@150",))
    assert len(list(read_run(tmp_path / "runs" / "bm25.trec"))) == 140
    one, again, other = (evaluated(tmp_path, DENSE, GOOD, seed=seed).comparisons for seed in (0, 0, 1))
    assert one == again != other


def test_progress_counts_every_search(tmp_path, monkeypatch):
    monkeypatch.setattr("acclimate.search.measuring._TIMED", 30)
    steps = []
    evaluated(tmp_path, BM25, DENSE, GOOD, progress=lambda done, total: steps.append((done, total)))
    measured, timed = [(40 * n, 210) for n in (1, 2, 3)], [(120 + n, 210) for n in range(1, 91)]
    assert steps == measured + timed


def test_a_query_that_finds_nothing_counts_as_nothing_found(tmp_path):
    deaf = Contender(SystemName("dense:adapted"), FakeRetriever({}), 0, {})
    found = evaluated(tmp_path, DENSE, deaf)
    assert found.verdict == "REGRESSION"
    assert found.systems[1]["measures"] == dict.fromkeys(MEASURES, 0.0)


def test_nothing_to_measure_on_is_an_error(tmp_path):
    with pytest.raises(DataError, match="none of the 40 queries has a relevant document"):
        evaluated(tmp_path, DENSE, GOOD, qrels=[])
    with pytest.raises(DataError, match="none of the 0 queries"):
        evaluated(tmp_path, DENSE, GOOD, queries=[])


def test_runs_hold_what_was_found():
    assert ranker(lambda n: 2).search(QUERIES[:1], 3) == [
        ScoredDoc("q00", "x00", 20.0), ScoredDoc("q00", "d00", 19.0), ScoredDoc("q00", "x01", 18.0),
    ]  # fmt: skip
