"""Evaluation: the verdict is that of the candidate against the best baseline, and runs say what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.errors import DataError, SettingError
from acclimate.formats import read_run
from acclimate.records import Qrel, Query, ScoredDoc
from acclimate.stages.evaluate import Contender, evaluate, file_name
from acclimate.stages.measure import MEASURES, per_query
from acclimate.testing import FakeRetriever

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


def contender(name, rank_of, adapted=None):
    return Contender(name, "dense", ":adapted" in name if adapted is None else adapted, ranker(rank_of), 1000, {})


BM25 = contender("bm25", lambda n: 3 + n % 3)
DENSE = contender("dense", lambda n: 2 + n % 3)
GOOD = contender("dense:adapted", lambda n: 1 + n % 2)
BAD = contender("dense:adapted", lambda n: 6)
SAME = contender("dense:adapted", lambda n: 2 + n % 3)
RERANKED = contender("dense+reranker", lambda n: 1, adapted=True)


def evaluated(folder, *contenders, candidate="dense:adapted", queries=QUERIES, qrels=QRELS, **settings):
    return evaluate(contenders, queries, qrels, candidate, folder, **settings)


@pytest.mark.parametrize(
    ("adapted", "verdict", "recommended"),
    [(GOOD, "WIN", "dense:adapted"), (BAD, "REGRESSION", "dense"), (SAME, "NO DIFFERENCE", "dense")],
)
def test_the_verdict_and_what_is_recommended(tmp_path, adapted, verdict, recommended):
    found = evaluated(tmp_path, BM25, DENSE, adapted)
    assert (found.verdict, found.recommended) == (verdict, recommended)
    assert (found.candidate, found.baseline) == ("dense:adapted", "dense")
    means = {system["name"]: system["measures"]["nDCG@10"] for system in found.systems}
    assert means[found.recommended] == max(means.values())


def test_a_better_system_that_is_not_the_candidate_is_not_recommended(tmp_path):
    found = evaluated(tmp_path, BM25, DENSE, BAD, RERANKED)
    assert found.verdict == "REGRESSION"
    assert found.recommended == "dense"
    assert evaluated(tmp_path, BM25, DENSE, BAD, RERANKED, candidate="dense+reranker").recommended == "dense+reranker"


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


def test_the_numbers_are_those_of_the_runs_on_disk(tmp_path):
    found = evaluated(tmp_path, BM25, DENSE, GOOD)
    for system in found.systems:
        name = system["name"]
        run = list(read_run(tmp_path / "runs" / f"{file_name(name)}.trec"))
        assert [(hit.query_id, hit.doc_id) for hit in run] == [(h.query_id, h.doc_id) for h in found.runs[name]]
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


def test_latencies_are_those_of_single_queries_and_warm_ones(tmp_path):
    asked = []

    class Watched(FakeRetriever):
        def search(self, queries, k):
            asked.append([query.query_id for query in queries])
            return super().search(queries, k)

    watched = DENSE._replace(retriever=Watched(DENSE.retriever.found))
    evaluated(tmp_path, watched, GOOD)
    assert asked == [["q00", "q01"], *([query.query_id] for query in QUERIES)]


def test_only_queries_with_a_relevant_document_are_measured_and_the_first_ones_by_id(tmp_path):
    qrels = [*QRELS[:30], *(qrel._replace(relevance=0) for qrel in QRELS[30:])]
    found = evaluated(tmp_path, DENSE, GOOD, queries=QUERIES[::-1], qrels=qrels)
    assert set(found.per_query["dense"]["nDCG@10"]) == {f"q{n:02}" for n in range(30)}
    few = evaluated(tmp_path, DENSE, GOOD, queries=QUERIES[::-1], max_queries=7)
    assert set(few.per_query["dense"]["nDCG@10"]) == {f"q{n:02}" for n in range(7)}
    assert {hit.query_id for hit in few.runs["dense"]} == {f"q{n:02}" for n in range(7)}


def test_runs_are_as_deep_as_the_measures_and_the_seed_draws_the_intervals(tmp_path):
    assert len(evaluated(tmp_path, DENSE, GOOD, k=100).runs["dense"]) == 13 * 40
    with pytest.raises(SettingError, match=r"evaluate.k is 99; expected 100 or more, because R@100"):
        evaluated(tmp_path, DENSE, GOOD, k=99)
    one, again, other = (evaluated(tmp_path, DENSE, GOOD, seed=seed).comparisons for seed in (0, 0, 1))
    assert one == again != other


def test_progress_counts_every_search(tmp_path):
    steps = []
    evaluated(tmp_path, BM25, DENSE, GOOD, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(at, 120) for at in range(1, 121)]


def test_a_query_that_finds_nothing_counts_as_nothing_found(tmp_path):
    deaf = Contender("dense:adapted", "dense", True, FakeRetriever({}), 0, {})
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
