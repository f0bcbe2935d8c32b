"""The report says everything that is in it, escapes all of it, and reads the same wherever it is printed."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from itertools import combinations
from typing import Any

import pytest

from acclimate.report import formatting, sentences, steering, terminal
from acclimate.report.html import render
from acclimate.report.pictures.tradeoff import tradeoff

VERDICTS = ("WIN", "NO DIFFERENCE", "REGRESSION")
HOSTILE = """<script>alert(1)</script>{{7*7}}{% raw %}" onload="alert(2)' ]]> --> &amp; </style></title></svg>"""
VOID = {"meta", "wbr", "br", "hr", "img", "link"}


def system(name: str, score: float, p50: float, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "adapted": ":adapted" in name,
        "untouched": name in ("bm25", "dense", "hybrid"),
        "kind": "dense",
        "measures": {"nDCG@10": score, "R@100": 0.9, "RR@10": 0.6, "Success@5": 0.8},
        "intervals": {"nDCG@10": [score - 0.03, score + 0.03]},
        "latency_ms": {"p50": p50, "p95": 2 * p50},
        "index_bytes": 7_960_000,
        "weights": {},
        **fields,
    }


def doc(doc_id: str, relevance: int | None) -> dict[str, Any]:
    return {"doc_id": doc_id, "title": f"Title of {doc_id}", "text": f"Text of {doc_id}.", "relevance": relevance}


def step(what: str, before: str, after: str, delta: float, p: float, ms=(21.0, 32.0), index=(1e6, 1e6)):
    return {
        "step": what,
        "from": before,
        "to": after,
        "delta": delta,
        "ci95": [delta - 0.02, delta + 0.02],
        "p": p,
        "wins": 9,
        "losses": 7,
        "ties": 3,
        "latency_ms": {"from": ms[0], "to": ms[1]},
        "index_bytes": {"from": index[0], "to": index[1]},
        "adds": p < 0.05 and delta > 0,
        "verdict": ("WIN" if delta > 0 else "REGRESSION") if p < 0.05 else "NO DIFFERENCE",
    }


@pytest.fixture
def report() -> dict[str, Any]:
    """Every key, every kind of value that may be missing."""
    return {
        "verdict": "WIN",
        "verdict_basis": "qrels",
        "recommended": "hybrid:adapted",
        "candidate": "hybrid:adapted",
        "baseline": "bm25",
        "steps": [
            step("late interaction", "hybrid", "hybrid:equal", 0.031, 0.0004, index=(6_000_000, 118_000_000)),
            step("weights chosen here", "hybrid:equal", "hybrid:tuned", 0.004, 0.41),
            step("reranker", "hybrid", "hybrid+reranker", -0.05, 0.002, ms=(21.0, 1310.0)),
        ],
        "systems": [
            system("bm25", 0.665, 1.3, kind="bm25"),
            system("dense", 0.645, 6.8),
            system("hybrid+reranker", 0.72, 1310.0, kind="reranked"),
            system("hybrid:adapted", 0.743, 7.1, kind="hybrid", weights={"bm25": 0.25, "dense:adapted": 0.75}),
        ],
        "comparisons": [
            {"system": "hybrid:adapted", "baseline": "bm25", "measure": measure, "delta": 0.078, "ci95": [0.02, 0.13]}
            | {"p": p, "wins": 1131, "losses": 58, "ties": 11}
            for measure, p in (("nDCG@10", 0.00001), ("R@100", 0.41))
        ],
        "stages": [
            {"name": "generate", "in": 1000, "out": 2947, "dropped": {"empty": 31, "copied": 0}, "seconds": 1834.2}
            | {"tokens": {"prompt": 1_204_331, "completion": 58_112}, "cost_usd": 0.4213, "resumed": True},
            {"name": "filter", "in": 2947, "out": 1893, "dropped": {"round-trip": 743}, "seconds": 2.0}
            | {"tokens": {}, "cost_usd": None, "resumed": False},
        ],
        "ledger": {
            "llms": [
                {"stage": "seed", "llm": "dear", "calls": 60, "prompt_tokens": 40_000, "completion_tokens": 900}
                | {"cost_usd": None},
                {"stage": "generate", "llm": "cheap", "calls": 2947, "prompt_tokens": 1_204_331}
                | {"completion_tokens": 58_112, "cost_usd": 0.4213},
            ],
            "tokens": 1_303_343,
            "cost_usd": 0.4213,
            "written_queries": 2947,
            "kept_queries": 1893,
        },
        "recipe": "udapdr",
        "seed": 13,
        "versions": {"acclimate": "0.1.0", "numpy": "2.4.6"},
        "corpus": {"name": "scifact", "documents": 5183},
        "queries": {"count": 300, "split": "test"},
        "models": {"llm": "embedded:smollm2", "encoder": "minilm", "reranker": None},
        "teachers": [
            {"name": "cross-encoder 1", "nDCG@10": 0.842, "weight": 0.55, "used": True, "reason": "best alone"},
            {"name": "BM25 teacher", "nDCG@10": 0.7, "weight": None, "used": False, "reason": "adds nothing"},
        ],
        "examples": [
            {
                "query": "white matter",
                "before": {"system": "bm25", "docs": [doc("x", 0), doc("001", 2), doc("y", None)]},
                "after": {"system": "hybrid:adapted", "docs": [doc("001", 2), doc("z", 1), doc("x", 0)]},
                "delta": 0.418,
            }
        ],
        "deltas": [0.418, 0.0, -0.2],
        "turned_down": [
            {"reason": "echo", "count": 31, "stage": "generate"}
            | {"examples": [{"query": "said again", "doc_id": "001", "note": "claim"}]},
            {"reason": "round-trip", "count": 743, "stage": "filter"}
            | {"examples": [{"query": "", "doc_id": "x", "note": ""}]},
        ],
        "command": "acclimate adapt scifact --out again --recipe run/recipe.toml",
        "recipe_toml": "seed = 13\n\n[sample]\nn_docs = 1000\n",
        "warnings": ["no out-of-domain measurement", "latency on a shared machine"],
        "generated_sample": [
            {"query": "a kept one", "doc_id": "001", "doc_text": "text", "logprob": -0.4, "kept": True, "reason": None},
            {"query": "a bad one", "doc_id": "x", "doc_text": "t", "logprob": None, "kept": False, "reason": "copied"},
        ],
    }


class Page(HTMLParser):
    """The tags, attributes and text of a page; fails when tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words.append("" if tag == "wbr" else " ")
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def with_text(value: Any, text: str) -> Any:
    """`value` with `text` after every string that is free to vary."""
    fixed = {"verdict", "verdict_basis", "adapted", "measure", "split", "kind", "step", "stage"}
    if isinstance(value, dict):
        return {key: item if key in fixed else with_text(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [with_text(item, text) for item in value]
    return value + text if isinstance(value, str) else value


def test_the_page_shows_every_system_stage_reason_warning_teacher_and_example(report):
    page = Page(render(report)).text
    expected = [one["name"] for key in ("systems", "stages", "teachers") for one in report[key]]
    expected += [reason for stage in report["stages"] for reason in stage["dropped"]]
    expected += [one["reason"] for one in report["teachers"]] + report["warnings"]
    expected += [one[key] for one in report["generated_sample"] for key in ("query", "doc_id", "doc_text")]
    expected += [d[key] for side in ("before", "after") for d in report["examples"][0][side]["docs"] for key in d]
    expected += [*report["versions"], *report["versions"].values(), *filter(None, report["models"].values())]
    expected += ["udapdr", "13", "5,183", "300", "0.743", "0.713-0.773", "0.665", "+0.078", "+0.020 to +0.130"]
    expected += ["< 0.001", "0.410", "1,131", "7.1 ms", "1.3 s", "8.0 MB", "1,204,331", "30m 34s", "$0.42"]
    expected += ["▲ from 2", "▼ from 1", "drops out", "new", "✓ relevant (2)", "✕ copied", "bm25 0.25", "made earlier"]
    expected += ["said again", "(nothing)", "round-trip", "743", report["command"], "n_docs = 1000"]
    assert [text for text in expected if text is not None and str(text) not in page] == []


def test_the_page_is_well_nested_and_loads_nothing(report):
    page = render(with_text(report, " http://elsewhere.example/ "))
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(parsed.tags)
    assert not {"src", "href", "srcset", "action"} & {name for name, _ in parsed.attributes}
    assert not any("http" in value for name, value in parsed.attributes if name not in ("http-equiv",))
    assert not re.search(r"url\(|@import|https?:", page[page.index("<style>") : page.index("</style>")])
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in parsed.attributes
    ids = [value for name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 4


def test_hostile_text_is_text_wherever_it_stands(report):
    plain, hostile = Page(render(report)), Page(render(with_text(report, HOSTILE)))
    assert hostile.tags == plain.tags
    assert [name for name, _ in hostile.attributes] == [name for name, _ in plain.attributes]
    assert "<script>alert(1)</script>{{7*7}}{% raw %}" in hostile.text
    assert hostile.text.count("49") == plain.text.count("49")  # {{7*7}} was not worked out


def test_the_picture_escapes_names():
    picture = tradeoff([system(HOSTILE, 0.5, 1.0)], recommended=HOSTILE)
    assert "<script" not in picture
    assert '" onload' not in picture
    assert picture.count("&lt;script&gt;") == 2  # description and label


def test_control_characters_and_half_surrogates_reach_neither_page_nor_terminal(report):
    report = with_text(report, "\x1b[2J\x00\u202e\ud800")
    for written in (render(report), terminal.text(report), terminal.examples(report)):
        assert not re.search("[\x00\x1b\u202e\ud800]", written)
        written.encode("utf-8")


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("basis", sentences.CAVEATS)
def test_every_score_is_marked_when_people_did_not_label_the_queries(report, verdict: str, basis: str):
    report |= {"verdict": verdict, "verdict_basis": basis}
    page, printed = Page(render(report)).text, " ".join(terminal.text(report).split())
    for written in (page, printed):
        assert verdict in written
        assert sentences.headline(report) in written
        assert sentences.outcome(report) in written
        assert sentences.advice(report) in written
        assert sentences.QUERIES[basis] in written
    if caveat := sentences.CAVEATS[basis]:
        assert page.count(caveat) >= 6  # the head, steps, the picture, systems, comparisons, examples
        assert printed.count(caveat) == 3
        assert caveat in terminal.examples(report)
    else:
        assert "flatter" not in printed


@pytest.mark.parametrize(
    ("verdict", "ranks"),
    [*zip(VERDICTS, ("ranks better than", "cannot be told apart from", "ranks worse than"), strict=True)],
)
@pytest.mark.parametrize("candidate", ["hybrid:adapted", "hybrid:tuned", "hybrid+reranker"])
def test_the_verdict_in_words_is_the_verdict_whatever_the_candidate(report, verdict: str, ranks: str, candidate: str):
    report |= {"verdict": verdict, "candidate": candidate}
    for written in (Page(render(report)).text, terminal.text(report)):
        assert f"{candidate} {ranks} what you have" in " ".join(written.split())
        assert "The best of these here is bm25" in " ".join(written.split())
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
        assert "Adds: late interaction. Adds nothing that can be told from chance: weights chosen here." in written
        assert "Makes it worse: reranker behind hybrid." in written


def test_a_report_of_an_earlier_version_reads_as_it_did(report):
    del report["steps"]
    for row in report["systems"]:
        del row["untouched"]
    report["recommendation"] = {"best": "bm25", "equals": [], "reason": "it is the faster"}
    for written in (Page(render(report)).text, terminal.text(report)):
        written = " ".join(written.split())
        assert "hybrid:adapted ranks better than bm25, the best system without training" in written
        assert "what you have" not in written
        assert "it is the faster" in written


def test_what_an_untouched_start_is_stands_beside_it(report):
    assert sentences.starts(report) == ""
    starts = [system(name, 0.5, 1.0, kind=name, adapted=False) for name in ("sparse", "static")]
    report["systems"] = [*report["systems"], *starts]
    for written in (terminal.text(report), render(report)):
        assert "sparse and static: how such a student starts" in " ".join(written.split())


def test_page_and_terminal_say_why_and_on_how_many_of_how_many_queries(report):
    best = report["systems"][0]["name"]
    equals = [{"system": one["name"], "p": 0.25} for one in report["systems"][1:3]]
    report |= {"recommendation": {"best": best, "equals": equals}}
    report["queries"] |= {"count": 7, "of": 1406}
    for text in (render(report), " ".join(terminal.text(report).split())):
        assert f"{best} measured best" in text
        assert f"{equals[0]['system']} (p = 0.250)" in text
        assert "7 (drawn) of 1,406 " in text


def test_what_may_be_absent_may_be_absent(report):
    for key in ("examples", "teachers", "generated_sample", "warnings", "steps"):
        del report[key]
    for one in report["systems"]:
        del one["intervals"]
    assert "Teachers" not in Page(render(report)).text
    assert "warning" not in terminal.text(report)
    assert terminal.examples(report) == ""


def test_a_report_read_back_from_json_is_the_same_page(report):
    before = copy.deepcopy(report)
    assert render(json.loads(json.dumps(report))) == render(report)
    assert report == before


def test_a_comparison_that_is_missing_leaves_out_its_numbers_only(report):
    report["comparisons"] = []
    assert sentences.evidence(report) == []
    assert "ranks better than what you have" in Page(render(report)).text
    assert "ranks better than what you have" in terminal.text(report)


def test_long_documents_are_cut(report):
    report["examples"][0]["after"]["docs"][0]["text"] = "word " * 100_000
    assert len(render(report)) < 60_000


def test_labels_in_the_picture_do_not_overlap():
    named = ["bm25", "dense", "hybrid", "late-interaction", "dense:adapted", "hybrid:adapted", "static:adapted"]
    systems = [system(name, 0.6 + 0.002 * i, 5.0 + 0.5 * i) for i, name in enumerate(named)]
    picture = tradeoff(systems, recommended="hybrid:adapted")
    boxes = []
    for x, y, anchor, label in re.findall(
        r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)" class="label[^>]*>([^<]+)<', picture
    ):
        wide = 6.6 * len(label)
        left = float(x) - {"start": 0, "middle": wide / 2, "end": wide}[anchor]
        boxes.append((left, float(y) - 10, left + wide, float(y)))
    assert len(boxes) == len(named)
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


@pytest.mark.parametrize("p50", [[0.0], [5.0], [0.001, 60_000.0], [3.0] * 12])
def test_the_picture_stays_inside_itself(p50: list[float]):
    picture = tradeoff([system(f"s{i}", 0.5, ms) for i, ms in enumerate(p50)], recommended="s0", width=360)
    assert all(0 <= float(x) <= 360 for x in re.findall(r' c?x[12]?="([-\d.]+)"', picture))
    assert "nan" not in picture and "inf" not in picture
    assert picture.count("ms</text>") + picture.count(" s</text>") >= 2


@pytest.mark.parametrize("basis", sentences.CAVEATS)
def test_the_terminal_fits_100_columns_and_ends_its_lines_cleanly(report, basis: str):
    report["verdict_basis"] = basis
    report = with_text(report, "-with-a-name-that-goes-on-and-on")
    for written in (terminal.text(report), terminal.examples(report)):
        assert max(map(len, written.splitlines())) <= terminal.WIDTH
        assert all(line == line.rstrip() for line in written.splitlines())
        assert written.endswith("\n")


def test_the_terminal_shows_systems_best_first_and_marks_the_relevant(report):
    lines = terminal.text(report).splitlines()
    names = [line.split()[0] for line in lines if re.search(r"\d [kMG]?B$", line)]
    assert names == ["hybrid:adapted", "hybrid+reranker", "bm25", "dense"]
    assert any(line.startswith("hybrid:adapted *  ") for line in lines)
    assert "    dropped: empty 31" in lines
    assert "  * 1  001  Title of 001: Text of 001." in terminal.examples(report).splitlines()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.signed(0.0001), "0.000"),
        (formatting.signed(-0.0431), "-0.043"),
        (formatting.p_value(0.0005), "< 0.001"),
        (formatting.milliseconds(0.42), "0.42 ms"),
        (formatting.milliseconds(12.4), "12 ms"),
        (formatting.size(999), "999 B"),
        (formatting.size(999_700), "1.0 MB"),
        (formatting.size(112_000_000), "112 MB"),
        (formatting.size(2_340_000_000), "2.3 GB"),
        (formatting.usd(0.004), "< $0.01"),
        (formatting.usd(None), "-"),
        (formatting.excerpt("one two three", 9), "one two…"),
        (formatting.excerpt(" one\n\ttwo ", 9), "one two"),
    ],
)
def test_numbers_and_excerpts(written: str, expected: str):
    assert written == expected


def test_what_llms_were_asked_and_what_a_kept_query_cost(report):
    for shown in (terminal.text(report), Page(render(report)).text):
        shown = " ".join(shown.split())
        assert "seed: dear was asked 60 times, read 40,000 tokens and wrote 900; cost not known" in shown
        assert "generate: cheap was asked 2,947 times" in shown
        assert "A kept query: $0.000223 (1,893 of 2,947 kept)" in shown
    report["ledger"]["cost_usd"] = None
    assert "A kept query: 689 tokens" in terminal.text(report)
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
    assert lines[0] == "Choices were made on 280 synthetic queries and 200 of a log."
    for number in ("57.0%", "82.0%", "60.0%", "1,128", "812", "8.3", "5.1", "5.4", "43 that count the same"):
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
    assert steering.sentences(report)[1] == "The log has 1,234 different queries, asked 56,789 times."
    report["log"] = {**account, "masked": 2, "dropped": {"empty": 1, "no letters": 3}}
    assert steering.sentences(report)[1].endswith(
        "times; entries that personal data was cut out of: 2; left out: empty 1, no letters 3."
    )


def test_latencies_say_on_how_many_queries_they_were_measured(report):
    assert sentences.timing(report) == ""  # of an earlier version
    for row in report["systems"]:
        row["latency_ms"] |= {"queries": 20 if row["kind"] == "reranked" else 100}
    said = "Latency is that of single queries, asked one at a time: 100 drawn queries, 20 of what is reranked."
    assert sentences.timing(report) == said
    assert said in " ".join(terminal.text(report).split())
    assert said in render(report)
    for row in report["systems"]:
        row["latency_ms"] |= {"queries": 1_007}
    assert sentences.timing(report).endswith("one at a time: 1,007 drawn queries.")
