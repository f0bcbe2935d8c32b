"""The report says everything that is in it, escapes all of it, and reads the same wherever it is printed."""

from __future__ import annotations

import copy
import json
import re
from itertools import combinations
from typing import Any

import pytest
from reports import HOSTILE, VERDICTS, Page, full_report, system, with_text

from acclimate.report import layout, sentences, terminal
from acclimate.report.html import render
from acclimate.report.pictures.tradeoff import tradeoff


@pytest.fixture
def report() -> dict[str, Any]:
    return full_report()


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


def test_what_a_run_takes_is_not_known_wherever_it_stands(report):
    """It is read from its file: no latency, no index, no place in the picture of both."""
    given = system("first-stage", 0.7, 0.0123, kind="run", index_bytes=0, adapted=False, untouched=True)
    report = {**report, "systems": [*report["systems"], given]}
    page, (line,) = render(report), [line for line in terminal.text(report).splitlines() if "first-stage  " in line]
    assert line.split()[-2:] == ["-", "-"]
    assert not re.search(r"0\.01 ms|first-stage 0\.700 at", page)
    assert not [label for label in re.findall(r"<text[^>]*>([^<]*)</text>", page) if label == "first-stage"]
    assert "first-stage" in Page(page).text


def test_hostile_text_is_text_wherever_it_stands(report):
    plain, hostile = Page(render(report)), Page(render(with_text(report, HOSTILE)))
    plain_tags, hostile_tags = ([tag for tag in page.tags if tag != "line"] for page in (plain, hostile))
    assert hostile_tags == plain_tags  # lines lead to names, where those are too long to stand beside their marks
    assert {name for name, _ in hostile.attributes} == {name for name, _ in plain.attributes}
    assert "<script>alert(1)</script>{{7*7}}{% raw %}" in hostile.text
    assert hostile.text.count("49") == plain.text.count("49")  # {{7*7}} was not worked out


def test_the_picture_escapes_names():
    picture = tradeoff([system(HOSTILE, 0.5, 1.0)], recommended=HOSTILE)
    assert "<script" not in picture
    assert '" onload' not in picture
    assert picture.count("&lt;script&gt;") == 2  # description and label


def test_files_deep_in_the_same_folder_are_told_apart_in_the_terminal(report):
    doc = report["examples"][0]["before"]["docs"][0]
    doc["doc_id"] = f"{'packages/' * 20}commands/install.md"
    assert "/commands/install.md  " in terminal.examples(report)
    assert doc["doc_id"] in render(report)


def test_a_document_whose_title_is_its_id_is_named_once(report):
    doc = report["examples"][0]["before"]["docs"][0]
    doc |= {"doc_id": "json.dumps", "title": "json.dumps", "text": "Serialize."}
    assert "  json.dumps  Serialize." in terminal.examples(report)
    assert render(report).count("json.dumps") == 1


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
        assert "optimistic" not in printed


def test_a_report_of_an_earlier_version_reads_as_it_did(report):
    del report["steps"]
    for row in report["systems"]:
        del row["untouched"]
    report["recommendation"] = {"best": "bm25", "equals": [], "reason": "it is the faster"}
    for written in (Page(render(report)).text, terminal.text(report)):
        written = " ".join(written.split())
        assert "hybrid:adapted ranks better than bm25, the best untrained system" in written
        assert "what you have" not in written
        assert "it is the faster" in written


def test_what_an_untouched_start_is_stands_beside_it(report):
    assert sentences.starting_points(report) == ""
    starts = [system(name, 0.5, 1.0, kind=name, adapted=False) for name in ("sparse", "static")]
    report["systems"] = [*report["systems"], *starts]
    for written in (terminal.text(report), render(report)):
        assert "sparse and static: the starting point of such a student" in " ".join(written.split())


def test_page_and_terminal_say_why_and_on_how_many_of_how_many_queries(report):
    best = report["systems"][0]["name"]
    equals = [{"system": one["name"], "p": 0.25} for one in report["systems"][1:3]]
    report |= {"recommendation": {"best": best, "equals": equals}}
    report["queries"] |= {"count": 7, "of": 1406}
    for text in (render(report), " ".join(terminal.text(report).split())):
        assert f"{best} measured best" in text
        assert f"{equals[0]['system']} (p = 0.250)" in text
        assert "7 (sampled) of 1,406 " in text


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
        assert max(map(len, written.splitlines())) <= layout.WIDTH
        assert all(line == line.rstrip() for line in written.splitlines())
        assert not re.search(r"\w-$", written, re.MULTILINE)  # no name is broken
        assert written.endswith("\n")


def test_the_terminal_shows_systems_best_first_and_marks_the_relevant(report):
    lines = terminal.text(report).splitlines()
    names = [line.split()[0] for line in lines if re.search(r"\d [kMG]?B$", line)]
    assert names == ["hybrid:adapted", "hybrid+reranker", "bm25", "dense"]
    assert any(line.startswith("hybrid:adapted *  ") for line in lines)
    assert "    dropped: empty 31" in lines
    marks = [line[2:5] for line in terminal.examples(report).splitlines() if "Title of" in line]
    assert marks == ["  1", "* 2", "  3", "* 1", "* 2", "  3"]  # grades 0, 2, none; 2, 1, 0
    assert "  * 1  001  Title of 001: Text of 001." in terminal.examples(report).splitlines()
