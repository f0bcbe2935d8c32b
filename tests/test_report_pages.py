"""The report of a finished run, query by query, and what pages owe whoever reads them: order, contrast, keys, paper."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

from acclimate.base.draw import uniform
from acclimate.cli.main import main
from acclimate.corpus.analyzer import Analyzer
from acclimate.measure.before_after import SystemRun, before_after
from acclimate.records import Doc, Qrel, Query, ScoredDoc
from acclimate.report.pictures.gains import gains

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
CURVE = {"nDCG@10": 0.5, "interval": [0.4, 0.6]}
CURVES = {
    "measure": "nDCG@10",
    "corpus": "docs",
    "seed": 0,
    "sets": {"held-out": {"name": "9 synthetic queries", "queries": 9, "synthetic": True}},
    "curves": [
        {"unit": "lists", "system": "dense", "all": 200, "untrained": {"lists": 0, "held-out": CURVE}, "last": None}
        | {"points": [{"lists": 100, "held-out": CURVE}, {"lists": 200, "held-out": CURVE}]}
    ],
}


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory) -> Path:
    """A finished run with curves and all of its pages."""
    folder = tmp_path_factory.mktemp("pages") / "run"
    shutil.copytree(finished, folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("acclimate.stages.curve.learning_curves", lambda *_, **__: CURVES)
        assert main(["curve", str(folder)]) == 0  # which writes the report anew
    assert main(["inspect", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def page(run) -> str:
    return (run / "report.html").read_text()


class Outline(HTMLParser):
    """Levels of headings, tables without a caption, heads of columns without a scope, and folds without a summary."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.wrong: list[str] = []
        self.last = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if (self.last, tag) in {("table", other) for other in ("thead", "tbody", "tr")}:
            self.wrong.append("a table without a caption")
        if self.last == "details" and tag != "summary":
            self.wrong.append("details without a summary")
        if tag == "th" and dict(attrs).get("scope") not in ("col", "row"):
            self.wrong.append("a th without a scope")
        self.last = tag


def test_every_query_that_changed_is_there_and_opens_to_both_lists(run, page):
    report = json.loads((run / "report.json").read_text())
    row = next(row for row in report["comparisons"] if row["system"] == report["candidate"] and "@10" in row["measure"])
    assert row["baseline"] == report["baseline"]
    assert page.count('<details class="query"') == row["wins"] + row["losses"] > 0
    assert page.count("<h4>Before <span>") == page.count("<h4>After <span>") == row["wins"] + row["losses"]
    bars = [float(delta) for delta in re.findall(r'<span class="delta [a-z]+">([+-][.0-9]+)</span></summary>', page)]
    better, worse = [delta for delta in bars if delta > 0], [delta for delta in bars if delta < 0]
    assert (better, worse) == (sorted(better, reverse=True), sorted(worse))
    assert f"{row['wins']} better" in page
    assert f"{row['losses']} worse" in page


def test_what_the_verdict_rests_on_is_seen_and_the_rest_is_folded(run, page):
    report = json.loads((run / "report.json").read_text())
    shown, folded = page.split('id="comparisons"')[1].split('id="more-comparisons"')
    rows = [re.findall(r"<tr", part.partition("</tbody>")[0]) for part in (shown, folded)]
    assert len(rows[0]) + len(rows[1]) - 2 == len(report["comparisons"])  # less the heads
    assert "the verdict</span>" in shown.partition("</tr>")[2].partition("</tr>")[0]  # in the first row
    assert "R@100" not in shown.partition("</tbody>")[0]


def test_curves_recipe_and_command_are_there(run, page):
    assert "Would more data help?" in page
    assert "dense: all queries were used for choices" in page.replace("Dense", "dense")
    assert f"--recipe {shlex.quote(str(run / 'recipe.toml'))}" in html.unescape(page)
    assert (run / "recipe.toml").read_text().splitlines()[-1] in page.replace("&#34;", '"')


@pytest.mark.parametrize("content", ["[]", '{"sets": {"a": 1}, "curves": [{}]}', "not JSON"])
def test_a_curve_that_is_none_is_said_in_a_line(finished, tmp_path, capsys, content):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "curve.json").write_text(content)
    assert main(["report", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "curve.json" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("name", ["report.html", "queries.html"])
def test_headings_are_in_order_and_tables_say_what_they_are(run, name):
    outline = Outline((run / name).read_text())
    assert outline.wrong == []
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    steps = zip(outline.headings, outline.headings[1:], strict=False)
    assert all(deeper <= level + 1 for level, deeper in steps)


def test_at_most_so_many_queries_are_shown_the_largest_gain_and_loss_among_them():
    names = [f"q{number}" for number in range(999)]
    queries, docs = [Query(name, "gains") for name in names], {"d": Doc("d", "text " * 999 + "and a gain")}
    run = [ScoredDoc(name, "d", 1.0) for name in names]
    old = SystemRun("old", run, dict.fromkeys(names, 0.5))
    new = SystemRun("new", run, {name: uniform("gain", name) for name in names})
    qrels = [Qrel(name, "d", 1) for name in names]
    shown = before_after(old, new, queries, qrels, docs, Analyzer("en"), most=200)
    deltas = [row["delta"] for row in shown]
    gained = sorted((round(value - 0.5, 5) for value in new.values.values()), reverse=True)
    assert len(shown) == 200
    assert deltas == sorted(deltas, reverse=True)
    assert (deltas[0], deltas[-1]) == (gained[0], gained[-1])
    parts = {row["before"]["docs"][0]["text"] for row in shown}
    assert all(len(part) <= 201 and part.endswith("text and a gain") for part in parts)


def test_each_side_shows_its_first_five_documents_and_their_grades():
    docs = {name: Doc(name, name) for name in "abcdefg"}
    old = SystemRun("old", [ScoredDoc("q", name, 1.0) for name in "abcdefg"], {"q": 0.1})
    new = SystemRun("new", [ScoredDoc("q", "g", 1.0)], {"q": 0.9})
    (row,) = before_after(old, new, [Query("q", "?")], [Qrel("q", "g", 2), Qrel("q", "b", 0)], docs, Analyzer("en"))
    sides = [[(doc["doc_id"], doc["relevance"]) for doc in row[side]["docs"]] for side in ("before", "after")]
    assert sides == [[("a", None), ("b", 0), ("c", None), ("d", None), ("e", None)], [("g", 2)]]
    assert (row["delta"], row["before"]["system"], row["after"]["system"]) == (0.8, "old", "new")


@pytest.mark.parametrize(
    "deltas", [[], [0.0], [1.0], [-0.25, 0.5, 0.0], [0.001 * number for number in range(-700, 900)]]
)
def test_the_picture_of_gains_stays_inside_itself(deltas):
    picture = gains(deltas, "What each query gained")
    wide, high = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', picture).groups())
    assert wide == min(len(deltas), 500)
    assert all(0 <= float(y) <= high for y in re.findall(r"V([-\d.]+)", picture))
    reached = (
        [high / 2 * (1 - delta / (max(map(abs, deltas)) or 1)) for delta in (max(deltas), min(deltas))]
        if deltas
        else []
    )
    assert all(f"V{y:.1f}" in picture for y in reached)
    assert "nan" not in picture


def luminance(color: str) -> float:
    """Relative, as WCAG 2 has it."""
    digits = color.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "paper"])
def test_text_can_be_read_on_what_it_stands_on(theme):
    css = resources.files("acclimate.report").joinpath("templates/page.css").read_text(encoding="utf-8")
    light, *others = (
        dict(re.findall(r"--([\w-]+): (#\w+)", rules)) for rules in re.findall(r":root {(.*?)}", css, re.S)
    )
    colors = light | [{}, *others][theme]
    pairs = [(text, paper) for paper in ("paper", "panel") for text in ("ink", "muted", "accent", "good", "bad")]
    pairs += [
        ("plain", "plain-paper"),
        ("ink", "plain-paper"),
        *(("paper", mark) for mark in ("accent", "plain", "good", "bad")),
    ]
    for one, other in pairs:
        dark, bright = sorted((luminance(colors[one]), luminance(colors[other])))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, (one, other)


def test_pages_fit_a_phone_open_by_keyboard_and_unfold_on_paper(run):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
        tab.set_default_timeout(120_000)  # of a busy machine
        for name in ("queries.html", "report.html"):
            tab.goto((run / name).as_uri())
            tab.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
            assert tab.evaluate("document.documentElement.scrollWidth") == 360
        tab.reload()
        last = tab.locator("details.query").nth(1)
        last.locator("summary").focus()
        tab.keyboard.press("Enter")
        assert last.evaluate("part => part.open")
        fold = tab.locator("details.fold .scroll").first
        assert not fold.is_visible()
        tab.emulate_media(media="print")
        assert fold.evaluate("part => part.checkVisibility({contentVisibilityAuto: true})")
        browser.close()
