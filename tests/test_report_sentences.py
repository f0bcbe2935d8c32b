"""What a report says in words: of numbers, what LLMs were asked, a log, quarrels and latencies."""

from __future__ import annotations

from typing import Any

import pytest
from reports import VERDICTS, Page, full_report, system

from acclimate.report import formatting, sentences, steering, terminal
from acclimate.report.html import render
from acclimate.report.query_notes import query_notes
from acclimate.search.names import FIRST_STAGE


@pytest.fixture
def report() -> dict[str, Any]:
    return full_report()


@pytest.mark.parametrize(
    ("verdict", "ranks"),
    [*zip(VERDICTS, ("ranks better than", "shows no significant difference from", "ranks worse than"), strict=True)],
)
@pytest.mark.parametrize("candidate", ["hybrid:adapted", "hybrid:tuned", "hybrid+reranker"])
def test_the_verdict_in_words_is_the_verdict_whatever_the_candidate(report, verdict: str, ranks: str, candidate: str):
    report |= {"verdict": verdict, "candidate": candidate}
    for written in (Page(render(report)).text, terminal.text(report)):
        assert f"{candidate} {ranks} what you have" in " ".join(written.split())
        assert "The best of these is bm25" in " ".join(written.split())
        assert "dapting" not in written


def test_what_each_step_adds_and_costs_is_said(report):
    for written in (Page(render(report)).text, terminal.text(report)):
        written = " ".join(written.split())
        for text in (
            "late interaction",
            "weights chosen here",
            "+0.031",
            "-0.050",
            "0.410",
            "6.0 -> 118 MB",
            "21 ms -> 1.3 s",
        ):
            assert text in written.replace("→", "->")
        assert "Adds: late interaction. No clear effect: weights chosen here." in written
        assert "Makes it worse: reranker behind hybrid. Each is tested alone: of twenty" in written


def test_what_to_know_of_the_queries_is_said_where_there_is_any():
    some: dict[str, Any] = {
        "learned": 2,
        "chose": 6,
        "same_text": 7,
        "nothing_relevant": 3,
        "first_stage": {"missing": 4},
        "identical": {"queries": 5, "left_out": True},
    }
    none = {"nothing_relevant": 0, "first_stage": {"missing": 0}, "identical": {"queries": 0, "left_out": False}}
    said = {
        "learned": "2 queries were left out, as the run showed them to its LLM or trained on them",
        "chose": "6 of the 40 queries also made the choices of the run",
        "same_text": "7 of the 40 queries have the text of another",
        "nothing_relevant": "3 of the 40 queries have no relevant document and count 0",
        "first_stage": "first-stage has no results for 4 of the 40 queries",
        "identical": "5 of the 40 queries are themselves documents",
    }
    assert query_notes({}, 40) == query_notes(none, 40) == []
    for name, text in said.items():
        (sentence,) = query_notes({**none, name: some[name]}, 40)
        assert sentence.startswith(text)
    assert len(query_notes(some, 40)) == len(said)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.signed(0.0001), "0.000"),
        (formatting.signed(-0.0431), "-0.043"),
        (formatting.p_value(0.0005), "< 0.001"),
        (formatting.p_value(0.001), "0.001"),
        (formatting.milliseconds(0.42), "0.42 ms"),
        (formatting.milliseconds(12.4), "12 ms"),
        (formatting.milliseconds(999.6), "1.0 s"),
        (formatting.milliseconds(0.996), "1.0 ms"),
        (formatting.milliseconds(9.96), "10 ms"),
        (formatting.size(999), "999 B"),
        (formatting.size(999_700), "1.0 MB"),
        (formatting.size(112_000_000), "112 MB"),
        (formatting.size(2_340_000_000), "2.3 GB"),
        (formatting.usd(0.004), "< $0.01"),
        (formatting.usd(None), "-"),
        (formatting.usd(0), "$0.00"),
        (formatting.excerpt("one two three", 9), "one two…"),
        (formatting.excerpt("onetwothreefour", 9), "onetwoth…"),
        (formatting.excerpt(" one\n\ttwo ", 9), "one two"),
    ],
)
def test_numbers_and_excerpts(written: str, expected: str):
    assert written == expected


@pytest.mark.parametrize(
    ("p", "by_judge", "said"),
    [
        (0.41, {}, "may be due to chance"),
        (0.01, {}, "below 0.025, the error of queries that nobody judged"),
        (0.01, {"judge_verdict": "NO DIFFERENCE"}, "below 0.025, the error of queries that nobody judged"),
        (0.01, {"judge_verdict": "WIN"}, "the human grades do not confirm it"),
    ],
)
def test_why_there_is_no_difference_is_said(report, p, by_judge, said):
    report["comparisons"][0]["p"] = p
    assert sentences.outcome({**report, "verdict": "NO DIFFERENCE", **by_judge}).endswith(f"{said}.")


@pytest.mark.parametrize(
    ("count", "of", "said"),
    [
        (300, 300, "300 labelled test queries"),
        (300, 900, "300 (sampled) of 900 labelled test queries"),
        (1, 1, "1 labelled test query"),
    ],
)
def test_how_many_queries_were_measured_on_is_said(report, count, of, said):
    report["queries"] |= {"count": count, "of": of}
    assert sentences.basis(report).startswith(f"Measured on {said} over ")


@pytest.mark.parametrize("ndcg", [0.9, 0.1])
def test_a_run_that_cannot_be_recommended_is_named_where_it_measured_better(report, ndcg):
    report["systems"].append(system(FIRST_STAGE, ndcg, 0.0, kind="run"))
    report["recommendation"] = {"best": "hybrid:adapted", "equals": []}
    assert sentences.reason(report).startswith(f"{FIRST_STAGE} measured better, but") == (ndcg == 0.9)
    for verdict in VERDICTS:  # of the judge
        is_confirmed = "do not confirm, " not in sentences.reason({**report, "judge_verdict": verdict})
        assert is_confirmed == (verdict == report["verdict"])


def test_what_llms_were_asked_and_what_a_kept_query_cost(report):
    for shown in (terminal.text(report), Page(render(report)).text):
        shown = " ".join(shown.split())
        assert "seed: dear: 60 calls, 40,000 tokens read, 900 written; cost unknown" in shown
        assert "generate: cheap: 2,947 calls" in shown
        assert "Per kept query: $0.000223 (1,893 of 2,947 kept)" in shown
    report["ledger"]["cost_usd"] = None
    assert "Per kept query: 689 tokens" in terminal.text(report)
    report["ledger"]["kept_queries"] = 0
    assert "nothing was kept" in terminal.text(report)


SEEN = {
    "synthetic": {"shared_words": 0.82, "first_hit_characters": 300, "words": 8.3, "effective_queries": 280},
    "as_weighted": {"shared_words": 0.6, "first_hit_characters": 812, "words": 5.4, "effective_queries": 43},
    "log": {"shared_words": 0.57, "first_hit_characters": 1128, "words": 5.1, "effective_queries": 200},
}


def test_what_a_log_changed_and_what_is_quarrelled_about_is_said_wherever_it_is_read(report):
    report["chosen_on"] = "280 synthetic queries and 200 of a log"
    report["tried"] = [{"what": "candidate", "value": "hybrid:tuned", "nDCG@10": 0.5, "chosen": True}]
    report["steering"] = {"seen": SEEN, "disagreement": {"hybrid:tuned": 0.42, "hybrid:adapted": 0.1}}
    lines = steering.sentences(report)
    assert lines[0] == "Weights, teachers and the candidate were chosen on 280 synthetic queries and 200 of a log."
    for number in ("57.0%", "82.0%", "60.0%", "1,128", "812", "8.3", "5.1", "5.4", "effective sample size is 43"):
        assert number in lines[1]
    assert "hybrid:tuned (0.42 of 1)" in lines[2]
    assert "hybrid:adapted" not in lines[2]
    page, plain = render(report), " ".join(terminal.text(report).split())
    assert all(line in page and line in plain for line in lines)


def test_without_a_log_or_a_quarrel_there_is_little_to_say(report):
    assert steering.sentences(report) == []  # of an earlier version
    for seen in ({}, {"synthetic": SEEN["synthetic"]}):
        report["steering"] = {"seen": seen, "disagreement": {}}
        assert len(steering.sentences({**report, "chosen_on": "100 dev queries"})) == 1


def test_a_report_says_what_became_of_a_log(report):
    account = {"queries": 1234, "asked": 56789, "masked": 0, "dropped": {}}
    report |= {"steering": {"seen": {}, "disagreement": {}}, "chosen_on": "7 synthetic queries", "log": account}
    assert steering.sentences(report)[1] == "The log has 1,234 distinct queries, searched 56,789 times."
    report["log"] = {**account, "masked": 2, "dropped": {"empty": 1, "no letters": 3}}
    assert steering.sentences(report)[1].endswith(
        "times; personal data removed from 2 entries; dropped: empty 1, no letters 3."
    )


def test_latencies_say_on_how_many_queries_they_were_measured(report):
    assert sentences.timing(report) == ""  # of an earlier version
    for row in report["systems"]:
        row["latency_ms"] |= {"queries": 20 if row["kind"] == "reranked" else 100}
    said = "Latency is that of single queries, one at a time: 100 sampled queries, 20 for reranked systems."
    assert sentences.timing(report) == said
    assert said in " ".join(terminal.text(report).split())
    assert said in render(report)
    for row in report["systems"]:
        row["latency_ms"] |= {"queries": 1_007}
    assert sentences.timing(report).endswith("one at a time: 1,007 sampled queries.")


def test_figures_are_those_of_whom_they_are_said_of(report):
    assert sentences.evidence(report)[0] == ("nDCG@10", "0.665 -> 0.743", "bm25 -> hybrid:adapted")
    assert "nDCG@10 0.743 (+0.078 against bm25" in sentences.advice(report)
    assert "nDCG@10 0.645 at" in sentences.advice({**report, "recommended": "dense"})  # which was not compared


def test_measures_that_a_table_has_no_room_for_have_tables_of_their_own(report):
    for row in report["systems"]:
        row["measures"] |= {f"R@{depth}": depth / 10_000 for depth in range(1001, 1009)}
    shown = terminal.text(report)
    assert all(shown.count(f"R@{depth}") == 1 and shown.count(f"{depth / 10_000:.3f}") for depth in range(1001, 1009))


def test_what_a_judge_cost_is_no_part_of_what_a_kept_query_cost():
    def usage(stage, cost):
        tokens = {"prompt_tokens": 90, "completion_tokens": 10}
        return {"stage": stage, "llm": "dear", "calls": 1, **tokens, "cost_usd": cost}

    for cost, each in ((0.5, "$0.05"), (10.0, "$1"), (None, "10 tokens")):
        llms = [usage("generate", cost), usage("judge", cost)]
        ledger = {"llms": llms, "tokens": 200, "cost_usd": cost and 2 * cost, "written_queries": 20, "kept_queries": 10}
        assert sentences.spending({"ledger": ledger})[-1].startswith(f"Per kept query: {each} ")
