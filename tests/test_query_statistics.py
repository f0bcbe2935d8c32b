"""Statistics of queries and histograms of their scores: counts that add up, whatever the order of the answers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.corpus.language import stop_words
from acclimate.records import SyntheticQuery
from acclimate.report.queries.histogram import histograms
from acclimate.report.queries.statistics import (
    Answer,
    Statistics,
    by_prompt,
    draw_answers,
    funnel,
    overlap,
    reasons,
    source_rank,
    statistics_of,
)

BAR = r"<title>([^<]+): (\d+) kept, (\d+) dropped</title>"

texts = st.lists(st.sampled_from("what how lava ash red crust Rises GAS the of is".split()), max_size=8).map(" ".join)
some_answers = st.lists(
    st.builds(
        lambda text, prompt, state, rank, mark: Answer(
            SyntheticQuery(str(rank), text + mark, "d", -float(rank), prompt),
            is_query=state != "too short",
            reason=state,
            overlap=overlap(text, "lava rises"),
            scores={} if state in ("too short", "round-trip") else {"rank": float(rank), "logprob": -0.1 * rank},
        ),
        texts,
        st.sampled_from("ab"),
        st.sampled_from([None, "too short", "duplicates", "round-trip"]),
        st.integers(1, 40),
        st.sampled_from(["", "?"]),
    ),
    max_size=12,
).map(lambda answers: [one._replace(query=one.query._replace(query_id=f"q{n}")) for n, one in enumerate(answers)])


def query(text: str, number: int = 0, **fields) -> Answer:
    return Answer(SyntheticQuery(f"q{number}", text, f"d{number}", -1.0, "p"), **fields)


@given(texts, texts)
def test_overlap_is_a_share_of_the_content_words(text, doc):
    share = overlap(text, doc, stop_words("en"))
    assert share is None or 0 <= share <= 1
    assert overlap(text, doc) == overlap(text.upper(), doc.lower())
    assert overlap(text, f"{doc} {text}") in (None, 1.0)


def test_overlap_leaves_stop_words_out_and_needs_whole_words():
    assert overlap("why is the lava red", "Lava erupts and it is covered.", stop_words("en")) == 1 / 2
    assert overlap("what is it", "what is it", stop_words("en")) is None
    assert overlap("溶岩", "赤い溶岩") == 1.0  # a character is a word where there are no blanks


@given(some_answers, st.randoms(use_true_random=False))
def test_the_order_of_answers_changes_nothing(answers, chance):
    shuffled = chance.sample(answers, len(answers))
    assert statistics_of(answers) == statistics_of(shuffled)
    assert reasons(answers) == reasons(shuffled)
    assert draw_answers(answers, 5) == draw_answers(shuffled, 5)


@given(some_answers)
def test_case_changes_nothing(answers):
    loud = [one._replace(query=one.query._replace(text=one.query.text.upper())) for one in answers]
    assert statistics_of(loud) == statistics_of(answers)


@given(some_answers)
def test_shares_are_shares_and_counts_add_up(answers):
    found = statistics_of(answers)
    shares = found._replace(answers=0, queries=0, kept=0, words=None, searched=0, start="", scores={})
    assert all(0 <= share <= 1 for share in shares if isinstance(share, float))
    groups = [statistics_of(group) for group in by_prompt(answers).values()]
    for count in ("answers", "queries", "kept", "searched"):
        assert sum(getattr(group, count) for group in groups) == getattr(found, count)
    turned_down = sum(count for _, count, _ in reasons(answers))
    steps = funnel(answers, ("duplicates", "logprob", "round-trip"))
    assert found.kept + turned_down == found.answers == len(answers)
    assert [count for _, count in steps] == sorted((count for _, count in steps), reverse=True)
    assert (steps[0][1], steps[1][1], steps[-1][1]) == (found.answers, found.queries, found.kept)


def test_of_nothing_there_are_counts_and_no_shares():
    found = statistics_of([])
    assert (found.answers, found.queries, found.kept, found.start, found.scores) == (0, 0, 0, "", {})
    assert {getattr(found, name) for name in Statistics._fields if name not in ("start", "scores")} == {0, None}
    assert (funnel([]), reasons([]), draw_answers([], 3)) == ([("answers", 0), ("queries", 0)], [], [])


def test_each_number_counts_what_it_says():
    texts = ["what is red lava", "What is ash?", "gas rises", "what is red lava"]
    ranks = [{"rank": 1.0}, {"rank": 20.0}, {"rank": 21.0}, {}]
    states = [None, None, "round-trip", "duplicates"]
    answers = [
        query(text, n, scores={"score": float(n), **rank}, reason=state, overlap=n / 4)
        for n, (text, rank, state) in enumerate(zip(texts, ranks, states, strict=True))
    ]
    found = statistics_of([*answers, query("never counted?", 9, is_query=False, reason="too short")])
    assert found == Statistics(
        answers=5,
        queries=4,
        kept=2,
        words=13 / 4,
        overlap=1.5 / 4,
        question_words=3 / 4,
        question_marks=1 / 4,
        distinct_2=5 / 9,  # what is, is red, red lava, is ash, gas rises
        common_start=3 / 4,
        start="what is",
        near_duplicates=1 / 4,
        searched=3,  # the duplicate was dropped before the search
        source_first=1 / 3,
        source_in_top=2 / 3,
        scores={"score": 1.5},
    )


def test_a_query_whose_document_was_not_found_was_searched_with():
    assert source_rank(query("a b", reason="round-trip")) == math.inf
    assert source_rank(query("a b", reason="duplicates")) is None
    assert statistics_of([query("a b", reason="round-trip")]).source_in_top == 0


def test_question_words_are_those_of_the_language():
    assert statistics_of([query("was ist Lava")], language="de").question_words == 1
    assert statistics_of([query("was ist Lava")], language="en").question_words == 0
    assert statistics_of([query("was ist Lava")], language="none").question_words is None


@given(some_answers, st.integers(0, 12), st.integers(0, 3))
def test_a_sample_follows_from_seed_and_ids(answers, count, seed):
    sample = draw_answers(answers, count, seed=seed)
    assert len(sample) == min(count, len(answers))
    assert draw_answers(answers, count + 1, seed=seed)[:count] == sample
    left = [one for one in answers if one in sample]
    assert draw_answers(left, count, seed=seed) == sample


def test_another_seed_draws_another_sample():
    answers = [query("a b", n) for n in range(50)]
    assert draw_answers(answers, 10, seed=0) != draw_answers(answers, 10, seed=1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.booleans())
def test_a_histogram_counts_every_query_once(values, is_dropped):
    answers = [
        query("a b", n, scores={"score": value}, reason="logprob" if is_dropped and n % 2 else None)
        for n, value in enumerate(values)
    ]
    ((name, picture),) = histograms([("all", answers), ("none", [query("a b")])], "score")
    counts = re.findall(r": (\d+) kept, (\d+) dropped", picture)
    assert name == "all"
    assert sum(int(kept) for kept, _ in counts) == sum(one.reason is None for one in answers)
    assert sum(int(kept) + int(dropped) for kept, dropped in counts) == len(answers)


def bars(answers: list[Answer], score: str) -> dict[str, tuple[int, int]]:
    ((_, picture),) = histograms([("all", answers)], score)
    return {label: (int(kept), int(dropped)) for label, kept, dropped in re.findall(BAR, picture)}


def test_a_bar_says_how_many_are_in_its_interval():
    answers = [query("a b", n, scores={"score": float(value)}) for n, value in enumerate([0, 3, 3, 19, 20])]
    answers.append(query("a b", 9, scores={"score": 3.5}, reason="logprob"))
    assert bars(answers, "score") == {"0 to 1": (1, 0), "3 to 4": (2, 1), "19 to 20": (2, 0)}


def test_the_highest_bar_of_all_pictures_fills_them_and_others_are_shares_of_it():
    few = [query("a b", n, scores={"score": float(value)}) for n, value in enumerate([0, 20, 20, 20])]
    many = [query("a b", n, scores={"score": float(n % 4)}) for n in range(100)]
    heights = [
        [float(height) for height in re.findall(r'height="([\d.]+)"[^>]*class="kept"', picture)]
        for _, picture in histograms([("few", few), ("many", many)], "score")
    ]
    top = max(heights[0])
    assert heights == [pytest.approx([top / 3, top], abs=0.1), pytest.approx([top / 3] * 4, abs=0.1)]
    assert 60 < top < 96


def test_ranks_have_bars_of_their_own_and_one_for_what_was_not_found():
    answers = [query("a b", n, scores={"rank": float(rank)}) for n, rank in enumerate([1, 1, 2, 3, 5, 100, 101])]
    answers += [query("a b", 8, reason="round-trip"), query("a b", 9, reason="duplicates")]
    expected = {"rank 1": (2, 0), "rank 2": (1, 0), "rank 3 to 5": (2, 0), "rank 51 to 100": (1, 0)}
    assert bars(answers, "rank") == expected | {"not found": (1, 1)}


def test_pictures_of_a_score_share_their_intervals():
    groups = [
        (name, [query("a b", n, scores={"score": float(value)}) for n, value in enumerate(values)])
        for name, values in (("low", [0, 1]), ("high", [19, 20]))
    ]
    (_, low), (_, high) = histograms(groups, "score")
    assert [label for label, *_ in re.findall(BAR, low + high)] == ["0 to 1", "1 to 2", "19 to 20"]
