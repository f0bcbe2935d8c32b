"""What is served: of those that cannot be told apart from the best, what takes least, then the faster."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.compare import PairedTest, compare, verdict
from acclimate.measure.evaluation import means, summary
from acclimate.measure.recommend import best_untouched, effort, recommend
from acclimate.records import Qrel, Query
from acclimate.report import sentences
from acclimate.search.names import SystemName
from acclimate.stages.systems import conclusion


@pytest.fixture(scope="module", autouse=True)
def hurried(unhurried):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("acclimate.measure.recommend.LEAST_MS", 1.0)
        yield


def system(name, values, ms):
    """`*` ends the name of one that is made untrained, `!` an adapted one's, `+!` a reranked one's."""
    mean = round(sum(values) / len(values), 5)
    return {
        "name": name,
        "untouched": name[-1] not in "*!",
        "adapted": name.endswith("!"),
        "kind": "reranked" if name.endswith("+!") else "dense",
        "measures": {"nDCG@10": mean},
        "latency_ms": {"p50": ms},
    }


def picked(**found):
    """The recommendation among systems given as (values of the queries, milliseconds); `_` ends an adapted one."""
    found = {name.replace("_", "!"): one for name, one in found.items()}
    values = {name: {f"q{at:02}": value for at, value in enumerate(own)} for name, (own, _) in found.items()}
    return recommend([system(name, *one) for name, one in found.items()], values, PairedTest())


LOW, HIGH = [0.1 + at / 1000 for at in range(40)], [0.5 + at / 1000 for at in range(40)]
WIDE = [0.5 + 0.4 * (-1) ** at for at in range(8)]
LOWER = [0.4 + 0.4 * (-1) ** (at // 2) for at in range(8)]
NEAR = [value + (0.01 if at % 2 else -0.009) for at, value in enumerate(HIGH)]  # a little better, by chance


@pytest.mark.parametrize(
    ("found", "served"),
    [
        ({"hybrid": (HIGH, 52), "hybrid_": (NEAR, 92)}, "hybrid"),
        ({"hybrid": (HIGH, 92), "hybrid_": (NEAR, 5)}, "hybrid"),  # untouched before faster
        ({"hybrid": (LOW, 5), "hybrid_": (HIGH, 92)}, "hybrid!"),
        ({"hybrid": (HIGH, 50), "hybrid_": (LOW, 1)}, "hybrid"),
        ({"bm25": (LOW, 1), "hybrid_": (HIGH, 92), "dense_": (NEAR, 9)}, "dense!"),
        ({"hybrid": (NEAR, 52), "dense": (HIGH, 9), "hybrid_": (HIGH, 1)}, "dense"),
        ({"hybrid": (NEAR, 12), "dense": (HIGH, 9)}, "hybrid"),  # hardly slower: the better one
        ({"dense": (HIGH, 0.2), "bm25": (HIGH, 0.9)}, "bm25"),  # nobody waits for less than a millisecond
        ({"dense": (LOW, 1), "tuned*": (HIGH, 50), "dense!": (NEAR, 9), "hybrid+!": (NEAR, 5)}, "tuned*"),
        ({"dense": (LOW, 1), "dense!": (HIGH, 90), "hybrid+!": (NEAR, 5)}, "dense!"),
        ({"hybrid": (WIDE, 90), "bm25": (LOWER, 1)}, "hybrid"),  # much lower, though by chance
        ({"dense": (NEAR, 90), "tuned*": (HIGH, 5)}, "dense"),  # what people have before what is made, though slower
    ],
)
def test_what_takes_least_and_then_the_faster(found, served):
    assert picked(**found).system == served


def test_a_system_that_cannot_serve_is_measured_and_not_recommended():
    rows = [system("first-stage", NEAR, 1), system("bm25", LOW, 1), system("dense", HIGH, 1)]
    values = {row["name"]: {"nDCG@10": {"q": row["measures"]["nDCG@10"]}} for row in rows}
    assert conclusion(rows, values, "dense", PairedTest()).recommendation.best == "dense"


def test_many_queries_of_few_documents_are_few_in_every_test_and_interval():
    """A gain on all of 40 queries is significant, on all queries of four documents it is not."""
    before, after = "hybrid", "hybrid:equal"
    values = {before: {f"q{n:02}": 0.0 for n in range(40)}, after: {f"q{n:02}": 0.1 + n / 400 for n in range(40)}}
    by_name = {name: {"nDCG@10": of} for name, of in values.items()}
    rows = [
        {**system(name, [*of.values()], 1), **SystemName(name).facts, "index_bytes": 0} for name, of in values.items()
    ]

    def found(sources: dict[str, str]) -> tuple[object, ...]:
        of = conclusion(rows, by_name, after, test := PairedTest(sources=sources))
        (low, high), p = means(by_name[after], test)["intervals"]["nDCG@10"], of.comparisons[0].p
        return of.verdict, [*of.recommendation.equals], of.steps[0]["adds"], p < 0.05, high - low > 0.05

    assert found({}) == ("WIN", [], True, True, False)
    few = JudgedQueries(
        "synthetic",
        [Query(query_id, query_id) for query_id in values[before]],
        [Qrel(q, f"d{n // 10 + at}", 2 - at) for n, q in enumerate(values[before]) for at in (0, 1)],
    )
    assert found(dict(few.sources)) == ("NO DIFFERENCE", [before], False, False, True)
    assert replace(few, split="test").sources == {}


def test_latencies_are_in_milliseconds():
    found = summary({"nDCG@10": {"q": 1.0}}, [number / 1000 for number in range(1, 102)], PairedTest())
    assert found["latency_ms"] == {"p50": 51, "p95": 96, "queries": 101}


def test_of_equally_good_ones_the_best_is_what_takes_least():
    assert picked(a_=(HIGH, 1), z=(HIGH, 9)).best == "z"


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["", "*", "!", "+!"]), st.floats(0.01, 500)),
        min_size=1,
        max_size=6,
    ),
    st.randoms(),
)
def test_the_rule_holds_whatever_the_systems_and_their_order(drawn, rng: random.Random):
    levels = [LOW, HIGH, NEAR, [value + 0.2 for value in HIGH]]
    found = {f"s{at}{ending}": (levels[level], ms) for at, (level, ending, ms) in enumerate(drawn)}
    values = {name: {f"q{at:02}": value for at, value in enumerate(own)} for name, (own, _) in found.items()}
    rows = [system(name, *one) for name, one in found.items()]
    one = recommend(rows, values, PairedTest(3))
    again = recommend(rng.sample(rows, len(rows)), values, PairedTest(3))
    assert again == one
    assert [*again.equals] == [*one.equals]  # the order in which the report lists them
    means = {row["name"]: row["measures"]["nDCG@10"] for row in rows}
    assert means[one.best] == max(means.values())
    against = {
        name: compare(values[one.best], values[name], system="", baseline="", measure="", seed=3) for name in found
    }
    equal = {name for name, comparison in against.items() if verdict(comparison) == "NO DIFFERENCE"}
    assert one.equals == {name: round(against[name].p, 5) for name in equal - {one.best}}
    assert one.system in equal
    efforts = {row["name"]: effort(row) for row in rows}
    assert efforts[one.system] == min(efforts[name] for name in equal)  # never larger than what it can't be told from
    peers = [max(1, found[name][1]) for name in equal if efforts[name] == efforts[one.system]]
    assert max(1, found[one.system][1]) < 1.5 * min(peers)


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ({"a": (LOW, 1), "b": (LOW, 1), "c*": (HIGH, 1), "d!": (HIGH, 1)}, "b"),
        ({"c*": (LOW, 1), "d!": (HIGH, 1), "b*": (LOW, 1)}, "c*"),  # none exists before adapting
    ],
)
def test_the_baseline_is_the_best_of_what_exists_before_adapting(found, best):
    rows = [system(name, *one) for name, one in found.items()]
    assert best_untouched(rows) == best_untouched(rows[::-1]) == best


def test_noise_of_a_tenth_in_latencies_changes_nothing():
    served = {picked(hybrid=(HIGH, 50 + noise), dense=(NEAR, 9 - noise), bm25=(LOW, 1)).system for noise in (-1, 0, 1)}
    assert served == {"dense"}


def test_the_report_says_why():
    rows = [system("hybrid", HIGH, 52), system("hybrid!", NEAR, 92)]
    report = {"systems": rows, "recommended": "hybrid"}
    equals = [{"system": "hybrid", "p": 0.61}]
    assert sentences.reason({**report, "recommendation": {"best": "hybrid!", "equals": equals}}) == (
        "hybrid! measured best (0.520); not significantly different from it: hybrid (p = 0.610). Of these, hybrid "
        "costs least (you have it already); ties go to the faster system, if it measured "
        "less than 0.020 lower, then to the better one."
    )
    equals[0]["p"] = 0.016  # on queries that nobody judged, which have an error of their own
    assert "from it: hybrid (less than 0.025 apart). Of" in sentences.reason(
        {**report, "recommendation": {"best": "hybrid!", "equals": equals}}
    )
    assert sentences.reason({**report, "recommendation": {"best": "hybrid", "equals": []}}).endswith(
        "every other system is significantly different."
    )
    assert sentences.reason(report) == ""
