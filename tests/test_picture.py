"""What a student gives up and saves against the reranked system, in words and in the picture; means of several runs."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import pytest
from reports import HOSTILE, system

from acclimate.report.against_reranked import sentence, trades
from acclimate.report.pictures.svg import Box, standalone
from acclimate.report.pictures.tradeoff import tradeoff

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("picture", ROOT / "benchmarks" / "picture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def systems(reranked=0.8, p50=1200.0):
    return [
        system("bm25", 0.5, 1.0, kind="bm25"),
        system("dense:adapted", 0.776, 100.0),
        system("hybrid:adapted", 0.79, 120.0, kind="hybrid"),
        system("bm25+reranker", 0.6, 900.0, kind="reranked", adapted=True),
        system("hybrid+reranker", reranked, p50, kind="reranked", adapted=True),
    ]


def crowd():
    """Systems as close to each other as those of a real run are."""
    return [
        system("bm25", 0.306, 0.5, kind="bm25"),
        system("dense", 0.44, 5.1),
        system("dense:adapted", 0.457, 5.2, adapted=True),
        system("late-interaction", 0.459, 11.9),
        system("late-interaction:adapted", 0.481, 17.4, adapted=True),
        system("hybrid", 0.429, 5.6, kind="hybrid"),
        system("hybrid:equal", 0.468, 12.5, kind="hybrid"),
        system("hybrid:tuned", 0.506, 12.1, kind="hybrid"),
        system("hybrid:adapted", 0.506, 16.6, kind="hybrid", adapted=True),
        system("hybrid+reranker", 0.426, 101.6, kind="reranked", adapted=True),
    ]


def test_every_name_can_be_read(tmp_path):
    """No name lies on another, on a mark or outside, in the widest font that a page may get."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not (chromium := shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        for width, height in ((1000, 420), (360, 340)):
            for recommended in ("hybrid:tuned", "dense", "late-interaction"):
                picture = tradeoff(crowd(), recommended=recommended, goal="hybrid+reranker", width=width, height=height)
                style = f".chart {{ font: 12.5px 'DejaVu Sans', Verdana, sans-serif; width: {width}px }}"
                tab.set_content(f"<style>{style} .best {{ font-weight: 700 }}</style>{picture}")
                names, marks = tab.evaluate(
                    """[".label", ".mark, .ring"].map((kind) => [...document.querySelectorAll(kind)].map((part) => {
                        const box = part.getBBox();
                        return [part.textContent, box.x, box.y, box.x + box.width, box.y + box.height];
                    }))"""
                )
                assert len(names) == len(crowd())
                ink = [
                    (name, Box(left - 1, top + 3, right + 1, bottom - 3)) for name, left, top, right, bottom in names
                ]
                marked = [Box(*box) for _, *box in marks if box[1] > 60]  # not of the legend
                assert [name for name, box in ink if box.overlap(Box(0, 0, width, height)) < box.area() - 1] == []
                assert [(one, other) for (one, a), (other, b) in combinations(ink, 2) if a.overlap(b)] == []
                assert [(name, mark) for name, box in ink for mark in marked if box.overlap(mark) > 4] == []
        browser.close()


# In words


def test_students_are_held_against_the_best_reranked_system():
    assert trades(systems()) == [
        {"system": "dense:adapted", "reranked": "hybrid+reranker", "share_of_ndcg": 0.97, "share_of_latency": 0.08333}
    ]
    assert (
        sentence(trades(systems())[0]) == "dense:adapted reaches 97% of hybrid+reranker's nDCG@10 in 1/12 of its time."
    )
    assert trades(systems()[:3]) == []
    assert trades(systems(reranked=0.0)) != []  # then the other reranked system is the best one
    assert trades([system("d:adapted", 0.5, 1.0), system("r", 0.0, 1.0, kind="reranked")]) == []


@pytest.mark.parametrize(
    ("share", "said"), [(0.4, "in 1/2.5 of its"), (0.9, "in 0.9 times its"), (2.0, "in 2.0 times its")]
)
def test_a_student_that_is_hardly_faster_is_not_made_to_look_so(share, said):
    one = {"system": "x", "reranked": "r", "share_of_ndcg": 1.0, "share_of_latency": share}
    assert said in sentence(one)


# In the picture


def region(picture: str) -> tuple[float, float, float, float] | None:
    """left, top, right, bottom"""
    found = next((one for one in ElementTree.fromstring(picture).iter() if one.get("class") == "goal"), None)
    if found is None:
        return None
    x, y, wide, high = (float(found.get(name, "")) for name in ("x", "y", "width", "height"))
    return x, y, x + wide, y + high


def place(picture: str, name: str) -> tuple[float, float]:
    """Where a system's mark is: of the same number as its whisker, in the order in which systems are drawn."""
    marks = [one for one in ElementTree.fromstring(picture).iter() if (one.get("class") or "").startswith("mark")]
    marks = marks[-len(systems()) :]
    one = marks[[system["name"] for system in systems()].index(name)]
    if one.tag.endswith("circle"):
        return float(one.get("cx", "")), float(one.get("cy", ""))
    return float(one.get("x", "")) + 5, float(one.get("y", "")) + 5


@pytest.mark.parametrize("width", [1000, 360])
@pytest.mark.parametrize(
    ("score", "p50", "reached"), [(0.776, 100.0, True), (0.7, 100.0, False), (0.776, 300.0, False)]
)
def test_who_is_in_the_region_has_reached_the_goal(score, p50, reached, width):
    shown = systems()
    shown[1] = system("dense:adapted", score, p50)
    picture = tradeoff(shown, recommended="", goal="hybrid+reranker", width=width)
    found = region(picture)
    assert found is not None
    left, top, right, bottom = found
    x, y = place(picture, "dense:adapted")
    assert (left <= x <= right and top <= y <= bottom) == reached


def test_no_region_without_a_goal_and_none_outside_the_plot():
    assert region(tradeoff(systems(), recommended="")) is None
    slow = [one for one in systems(p50=100.0) if one["name"] != "bm25"]
    picture = tradeoff(slow, recommended="", goal="hybrid+reranker")
    assert region(picture) is None or "in 1/10" not in picture


def test_a_picture_alone_is_well_formed_escapes_and_loads_nothing():
    shown = [*systems(), system(HOSTILE, 0.6, 5.0)]
    picture = standalone(tradeoff(shown, recommended="", goal="hybrid+reranker", key="picture"))
    root = ElementTree.fromstring(picture)
    assert root.tag == f"{SVG}svg"
    assert {one.tag for one in root.iter()} <= {
        SVG + name for name in ("svg", "style", "rect", "title", "desc", "line", "circle", "text")
    }
    assert not re.search(r"href|url\(|@import|<script", picture)
    assert "prefers-color-scheme: dark" in picture
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert HOSTILE in texts
    assert "recommended" not in texts
    assert "95% of hybrid+reranker in 1/10 of its time" in texts


# Over collections


def test_the_mean_of_one_run_is_that_run(benchmark):
    for one, mean in zip(systems(), benchmark.averaged([systems()]), strict=True):
        assert mean["measures"]["nDCG@10"] == pytest.approx(one["measures"]["nDCG@10"])
        assert mean["intervals"]["nDCG@10"] == pytest.approx(one["intervals"]["nDCG@10"])
        assert mean["latency_ms"]["p50"] == pytest.approx(one["latency_ms"]["p50"])


def test_more_collections_make_the_interval_smaller_and_only_what_all_have_is_shown(benchmark):
    other = [system("dense:adapted", 0.376, 400.0), system("bm25", 0.3, 4.0)]
    found = {one["name"]: one for one in benchmark.averaged([systems(), other])}
    assert list(found) == ["bm25", "dense:adapted"]
    dense = found["dense:adapted"]
    assert dense["measures"]["nDCG@10"] == pytest.approx(0.576)
    assert dense["latency_ms"]["p50"] == pytest.approx(200.0)
    assert dense["intervals"]["nDCG@10"] == pytest.approx([0.576 - 0.03 / 2**0.5, 0.576 + 0.03 / 2**0.5])


def test_the_file_says_what_it_is_the_mean_of_and_where_scores_flatter(benchmark, tmp_path, monkeypatch, capsys):
    paths = []
    for name, basis in (("/data/npl", "qrels"), ("pydocs", "synthetic")):
        path = tmp_path / f"{Path(name).name}.json"
        path.write_text(json.dumps({"systems": systems(), "corpus": {"name": name}, "verdict_basis": basis}))
        paths.append(str(path))
    out = tmp_path / "picture.svg"
    monkeypatch.setattr("sys.argv", ["picture.py", *paths, "--out", str(out)])
    benchmark.main()
    said = out.read_text()
    assert "mean of npl, pydocs" in said
    assert "usually optimistic" in said
    assert "dense:adapted reaches 97%" in capsys.readouterr().out
