"""Measures agree with values computed by hand, whatever the ties, the gaps and the order of the input."""

from __future__ import annotations

import random
import subprocess
import sys
from math import log2

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, Bpref, Judged, infAP, nDCG

from acclimate.base.errors import DataError, SettingError
from acclimate.measure.measures import MEASURES, ndcg, nothing_relevant, per_query, provider_of, ranks_as_scores
from acclimate.records import Qrel, ScoredDoc


def run_of(query_id: str, *doc_ids: str) -> list[ScoredDoc]:
    return [ScoredDoc(query_id, doc_id, 100.0 - rank) for rank, doc_id in enumerate(doc_ids)]


def test_one_of_three_relevant_docs_found_is_not_perfect():
    values = per_query(run_of("q", "a"), [Qrel("q", "a", 1), Qrel("q", "b", 1), Qrel("q", "c", 1)])

    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert values["nDCG@10"]["q"] == pytest.approx(1 / ideal)
    assert values["R@100"]["q"] == pytest.approx(1 / 3)
    assert values["RR@10"]["q"] == 1
    assert values["Success@5"]["q"] == 1


def test_gains_are_linear_in_the_grade():
    values = per_query(run_of("q", "low", "none", "high"), [Qrel("q", "low", 1), Qrel("q", "high", 3)], ["nDCG@10"])

    assert values["nDCG@10"]["q"] == pytest.approx((1 + 3 / log2(4)) / (3 + 1 / log2(3)))


def test_ids_of_any_characters_are_measured():
    odd = "a\0 b\t%c"
    assert per_query(run_of(odd, "x", odd), [Qrel(odd, odd, 1)], ["RR"]) == {"RR": {odd: 0.5}}


@given(
    st.lists(st.integers(0, 4), max_size=30).filter(any),
    st.lists(st.integers(1, 4), max_size=15),
    st.integers(1, 40),
)
def test_ndcg_of_ranks_is_that_of_the_library(ranked: list[int], missed: list[int], k: int):
    """ranked: the grades of what is found, best first. missed: those of relevant documents that are not."""
    qrels = [Qrel("q", f"d{at:02}", grade) for at, grade in enumerate([*ranked, *missed])]
    expected = per_query(run_of("q", *(f"d{at:02}" for at in range(len(ranked)))), qrels, [f"nDCG@{k}"])
    grades = np.array([*ranked, *missed])
    ranks = np.array([*range(1, len(ranked) + 1), *[np.inf] * len(missed)])
    relevant = grades > 0
    both = ndcg(grades[relevant], np.stack([ranks, np.full(len(ranks), np.inf)])[:, relevant], k=k)
    assert both == pytest.approx([expected[f"nDCG@{k}"]["q"], 0.0], abs=1e-9)


def test_ndcg_of_ranks_without_anything_relevant_is_nothing():
    assert ndcg(np.array([]), np.empty((3, 0))).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("relevant", "rank"), [("a", 3), ("b", 2), ("c", 1)])
def test_every_measure_sees_the_same_order_among_equal_scores(relevant: str, rank: int):
    hits = [ScoredDoc("q", doc_id, 1.0) for doc_id in "bca"]
    values = per_query(hits, [Qrel("q", relevant, 1)], ["nDCG@10", "RR@10", "P@1", "AP@10", "Success@1"])

    assert values["nDCG@10"]["q"] == pytest.approx(1 / log2(rank + 1))
    assert values["RR@10"]["q"] == pytest.approx(1 / rank)
    assert values["AP@10"]["q"] == pytest.approx(1 / rank)
    assert values["P@1"]["q"] == values["Success@1"]["q"] == (rank == 1)


def test_queries_with_no_one_and_few_hits_are_all_measured():
    qrels = [Qrel(query_id, "a", 1) for query_id in ("none", "one", "few", "001", "1")]
    run = run_of("one", "a") + run_of("few", "x", "y", "a") + run_of("001", "x", "a") + run_of("unjudged", "a")
    values = per_query(run, qrels)

    for measure in MEASURES:
        assert set(values[measure]) == {"none", "one", "few", "001", "1"}
    assert values["RR@10"] == pytest.approx({"none": 0, "one": 1, "few": 1 / 3, "001": 0.5, "1": 0})


def test_a_run_without_any_hit_is_all_zeros():
    assert per_query([], [Qrel("q", "a", 1)]) == {measure: {"q": 0.0} for measure in MEASURES}


def test_queries_without_a_positive_judgment_count_as_trec_eval_counts_them():
    import pytrec_eval

    qrels = [Qrel("q", "a", 1), Qrel("empty", "a", 0), Qrel("spam", "a", -2)]
    run = run_of("q", "b", "a") + run_of("empty", "a") + run_of("spam", "a")
    grades = {one.query_id: {one.doc_id: max(one.relevance, 0)} for one in qrels}  # it crashes below 0
    theirs = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut"})
    theirs = theirs.evaluate({q: {hit.doc_id: hit.score for hit in run if hit.query_id == q} for q, *_ in qrels})
    ours = per_query(run, qrels, ["nDCG@10"])["nDCG@10"]
    assert ours == {q: pytest.approx(values["ndcg_cut_10"]) for q, values in theirs.items()}
    assert nothing_relevant(qrels) == 2


def test_grades_below_0_gain_nothing():
    values = per_query(run_of("q", "spam", "a"), [Qrel("q", "a", 1), Qrel("q", "spam", -2)], ["nDCG@10"])
    assert values["nDCG@10"]["q"] == pytest.approx(1 / log2(3))


@given(st.randoms(use_true_random=False))
def test_grades_below_0_count_as_ir_measures_counts_them(chance: random.Random):
    """Measures of what is judged, such as Bpref, take them for documents that nobody judged."""
    measures = [nDCG @ 10, AP, Bpref, infAP, AP(judged_only=True), nDCG(judged_only=True) @ 3, RR @ 5, Judged @ 4]
    qrels = [Qrel("q", doc_id, chance.choice([-2, -1, 0, 1, 2])) for doc_id in "abcdef"] + [Qrel("q", "g", 1)]
    run = run_of("q", *chance.sample("abcdefghi", 7))
    values = per_query(run, qrels, list(map(str, measures)))
    theirs = ir_measures.iter_calc(measures, qrels, run)
    assert {name: of["q"] for name, of in values.items()} == {
        str(metric.measure): pytest.approx(metric.value) for metric in theirs
    }


def test_cutoffs_cut():
    run = run_of("q", *"zyxwvutsrqp", "a")  # the relevant one is twelfth
    values = per_query(run, [Qrel("q", "a", 1)])
    assert [values[measure]["q"] for measure in MEASURES] == [0, 1, 0, 0]


def test_long_runs_of_scores_that_differ_little_keep_their_order():
    """pytrec_eval reads scores as 32-bit floats, in which these are equal."""
    run = [ScoredDoc("q", doc_id, 1.0 + gain * 1e-12) for gain, doc_id in enumerate("cab")]
    assert per_query(run, [Qrel("q", "b", 1)], ["nDCG@10"])["nDCG@10"]["q"] == 1


@given(st.randoms(use_true_random=False))
def test_the_order_of_run_and_qrels_does_not_matter(chance: random.Random):
    run = [ScoredDoc(q, d, float(ord(d) % 2)) for q in ("1", "2") for d in "abcde"]
    qrels = [Qrel("1", "b", 1), Qrel("1", "d", 2), Qrel("2", "e", 1)]
    expected = per_query(run, qrels)
    assert per_query(chance.sample(run, len(run)), chance.sample(qrels, len(qrels))) == expected


def test_ranks_as_scores_leaves_no_ties():
    ranked = ranks_as_scores([ScoredDoc("q", "b", 5.0), ScoredDoc("q", "a", 5.0), ScoredDoc("p", "c", 9.0)])
    assert ranked == [ScoredDoc("p", "c", -1.0), ScoredDoc("q", "b", -1.0), ScoredDoc("q", "a", -2.0)]


def test_equal_scores_count_as_trec_eval_counts_them():
    """The larger id first, whatever the order of the file: of a run of another tool, the figures are the usual ones."""
    run, qrels = [ScoredDoc("q", doc_id, 1.0) for doc_id in ("d1", "d10", "d2", "é")], [Qrel("q", "d2", 1)]
    ours = per_query(run, qrels, ["RR", "AP", "nDCG@10"])
    theirs = {str(value.measure): value.value for value in ir_measures.iter_calc([RR, AP, nDCG @ 10], qrels, run)}
    assert {name: values["q"] for name, values in ours.items()} == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("run", "qrels", "measures", "message"),
    [
        ([], [Qrel("q", "a", 1)], [], "no measures"),
        ([], [], MEASURES, "no query to measure"),
        ([], [Qrel("q", "a", 0)], MEASURES, "none of the 1 judgment is positive"),
        (run_of("q", "a") * 2, [Qrel("q", "a", 1)], MEASURES, "doc 'a' is in the run twice"),
        ([ScoredDoc("q", "a", float("nan"))], [Qrel("q", "a", 1)], MEASURES, "'a' is not a number"),
    ],
)
def test_what_cannot_be_measured_is_an_error(run, qrels, measures, message: str):
    with pytest.raises(DataError, match=message):
        per_query(run, qrels, measures)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ("ndcg@10", "Did you mean 'nDCG@10'"),
        ("ndcg_cut_10", "Did you mean 'nDCG@10'"),
        ("recip_rank", "Did you mean 'RR'"),
        ("recall_1000", "Did you mean 'R@1000'"),
        ("Succes@5", "Did you mean 'Success@5'"),
        ("R", "without cutoff; expected for example R@10"),
        ("nDCG@0", "cutoff is 0; expected a whole number from 1"),
        ("nDCG@1.5", "cutoff"),
        ("AP(rel=None)", "rel is None"),
        ("AP(rel=True)", "rel is True"),
        ("AP(foo=1)", "it takes cutoff, rel, judged_only"),
        ("AP(2)", "expected parameters as in"),
        ("AP(" * 30, "is not a measure"),
        ("nDCG(gains={1: 'a'})@10", "gains"),
        ("RBP(p=0.8)", "expected rel, too"),
        ("", "is not a measure"),
        ("nDCG@" + "9" * 30, "cutoff"),
        ("nDCG@" + "9" * 99999, "is not a measure"),
    ],
)
def test_a_measure_that_does_not_exist_is_an_error(measure: str, message: str):
    with pytest.raises(SettingError, match=message):
        per_query([], [Qrel("q", "a", 1)], [measure])


def test_providers_are_named_with_their_versions():
    assert provider_of("RR@10").startswith("msmarco (ir_measures ")
    assert provider_of("nDCG@10").startswith("pytrec_eval (pytrec_eval-terrier ")


def test_measuring_leaves_no_log_handler_that_prints():
    """In a process of its own: importing ir_measures is what installs one."""
    code = (
        "import logging\n"
        "from acclimate.records import Qrel\n"
        "from acclimate.measure.measures import per_query\n"
        "per_query([], [Qrel('q', 'a', 1)])\n"
        "logging.getLogger('ir_measures').warning('printed')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
