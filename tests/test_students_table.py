"""The harness of the table of students: rows that share what they can, are made once, and add up as the table says."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

from acclimate.base.errors import SettingError
from acclimate.base.files import read_json
from acclimate.stages import distill, label, train


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield importlib.import_module("students")


@pytest.fixture(scope="module")
def page(bench):
    return importlib.import_module("results_page")


@pytest.fixture(scope="module")
def table(bench):
    return importlib.import_module("students_table")


@pytest.fixture
def arms(bench, monkeypatch):
    """Two that teach differently from the same labels, and one with labels of its own."""
    found = {"contrastive": ["distill.contrastive=1"], "mixed": [], "one": ["label.weights=equal"]}
    monkeypatch.setattr(bench, "ARMS", found)
    return found


def run(bench, monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["students.py", *map(str, arguments)])
    bench.main()


@pytest.fixture
def source(labelled, tmp_path) -> Path:
    """A run made up to `mine` only."""
    shutil.copytree(labelled, tmp_path / "source")
    for stage in ("train", "label"):
        shutil.rmtree(tmp_path / "source" / stage)
    return tmp_path / "source"


@pytest.mark.slow
def test_rows_are_made_once_and_share_rerankers_and_labels(bench, arms, source, tmp_path, monkeypatch, capsys):
    made = []
    for stage, name in ((train, "train"), (label, "label"), (distill, "distill")):

        def make(run, *earlier, make=stage.make, name=name):
            made.append((name, str(run.workspace.folder)))
            return make(run, *earlier)

        monkeypatch.setattr(stage, "make", make)
    before = {path.relative_to(source): path.stat().st_mtime_ns for path in source.rglob("*")}
    out = tmp_path / "out"
    options = ("--out", out, "--seeds", "0,1", "--queries", "6", "--test-queries", "12", "--set", "distill.epochs=1")
    run(bench, monkeypatch, source, *options, "--arms", "contrastive,mixed,one", "--kinds", "dense-query", "--reranked")
    folders = {stage: {folder for of, folder in made if of == stage} for stage in ("train", "label", "distill")}
    assert [len(folders[stage]) for stage in ("train", "label", "distill")] == [2, 4, 6]
    rows = {path.name: read_json(path) for path in (out / "rows").iterdir()}
    assert len(rows) == 1 + 6 + 2  # untouched, adapted, and the reranked hybrid of one arm
    for row in rows.values():
        assert len(row["per_query"]) == 12
        assert row["measures"]["nDCG@10"] == pytest.approx(sum(row["per_query"].values()) / 12, abs=1e-5)
        assert row["index_bytes"] > 0
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"]
    assert {row["queries"] for row in rows.values() if "queries" in row} == {6}
    assert {path.relative_to(source): path.stat().st_mtime_ns for path in source.rglob("*")} == before
    assert not list(out.rglob("distill-*"))  # models are not kept
    text = capsys.readouterr().out
    assert "| dense-query | untouched |" in text and "(a) one reranker" in text

    made.clear()
    run(bench, monkeypatch, source, *options, "--arms", "contrastive,mixed,one", "--kinds", "dense-query", "--reranked")
    assert made == []
    assert capsys.readouterr().out == text


def test_names_that_do_not_exist_are_refused(bench, monkeypatch, tmp_path):
    for option, name in (("--arms", "mixd"), ("--kinds", "dens")):
        with pytest.raises(SettingError, match=f"named '{name}'. Did you mean"):
            run(bench, monkeypatch, option, name, "--out", tmp_path)


# The table


def row(arm, seed, values, kind="dense-query", collection="npl", **more):
    return {
        "collection": collection,
        "seed": seed,
        "arm": arm,
        "kind": kind,
        "per_query": {f"q{at:03}": value for at, value in enumerate(values)},
        "latency_ms": {"p50": 2.0, "p95": 4.0},
        "index_bytes": 5_000_000,
        **more,
    }


def test_differences_are_of_seeds_means_against_the_own_base(table):
    base = [0.2, 0.4] * 30
    found = [
        row("base", None, base),
        row("base", None, [0.9] * 60, kind="sparse"),
        row("mixed", 0, [value + 0.1 for value in base], training_seconds={"distill": 30.0}),
        row("mixed", 1, [value + 0.2 for value in base], training_seconds={"distill": 50.0}),
        row("contrastive", 0, base),
        row("one", 0, [0.6] * 60, kind="reranked", latency_ms={"p50": 50.0, "p95": 60.0}),
        row("one", 1, [0.6] * 60, kind="reranked", latency_ms={"p50": 50.0, "p95": 60.0}),
    ]
    text = table.tables(found)
    lines = [line for line in text.splitlines() if line.startswith("| dense-query")]
    difference = f"+0.150* ±{0.1 / 2**0.5:.3f} (2)".replace("±0", "±")
    assert f"| dense-query | {table.TITLES['mixed']} | {difference} | +0.150 |" in lines
    assert f"| dense-query | {table.TITLES['contrastive']} | +0.000 (1) | +0.000 |" in lines
    assert any(table.TITLES["mixed"] in line and "2.0 / 4.0 | 5.0 | 40 | 75% in 1/25 |" in line for line in lines)
    assert any(line.startswith(f"| dense-query | {table.TITLES['mixed']} | .450 (") for line in lines)
    assert "| sparse | untouched | .900 (." in text


def test_a_collection_without_rows_leaves_its_cell_empty_and_there_is_no_mean(table):
    found = [row("base", None, [0.2] * 20), row("base", None, [0.4] * 20, collection="scifact")]
    found.append(row("mixed", 0, [0.5] * 20))
    text = table.tables(found)
    assert f"| dense-query | {table.TITLES['mixed']} | +0.300* (1) |  |  |" in text
    assert table.tables([]) == "(no rows yet)"


def test_the_table_goes_between_its_marks_and_nothing_else_changes(bench, page, tmp_path, monkeypatch):
    from acclimate.base.errors import AcclimateError

    begin, end = "<!-- students: begin -->", "<!-- students: end -->"
    monkeypatch.setattr(page, "PAGE", tmp_path / "results.md")
    page.PAGE.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    run(bench, monkeypatch, "--out", tmp_path / "out", "--write")
    assert page.PAGE.read_text() == f"before\n{begin}\n(no rows yet)\n{end}\nafter\n"
    page.PAGE.write_text("nothing")
    with pytest.raises(AcclimateError, match="has no place for the table"):
        run(bench, monkeypatch, "--out", tmp_path / "out", "--write")
