"""What the points of learning curves depend on, what they are measured on, and where a curve begins: without a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acclimate.base.errors import DataError
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.records import Qrel, Query
from acclimate.search import measuring
from acclimate.stages import curve


def judged(name: str, count: int) -> JudgedQueries:
    queries = [Query(f"{name}{n}", "x") for n in range(count)]
    return JudgedQueries(name, queries, [Qrel(query.query_id, "d", 1) for query in queries])


def curves_of(test=0, held_out=0, most=9, depth=50, epochs=3, seed=0, **fingerprints) -> curve._Curves:
    """Curves of a run with so many queries, and the fingerprints of its parts: all of them "as ever" if not given."""
    sides = {"choosing": judged("held-out", held_out), "measuring": judged("test", test)}
    steered = {name: lambda *_, side=side: side for name, side in sides.items()}
    prints = dict.fromkeys(("steer", "sample", "label", "documents", "base"), "as ever") | fingerprints
    output = {name: SimpleNamespace(fingerprint=prints[name]) for name in prints}
    run: Any = SimpleNamespace(
        settings={
            "evaluate": {"max_queries": most, "rerank_depth": depth},
            "train": {"epochs": epochs, "max_queries": 0},
            "distill": {"epochs": epochs, "max_queries": 0},
        },
        seed=seed,
        input=SimpleNamespace(corpus=output.pop("documents")),
        base=output.pop("base"),
        workspace=SimpleNamespace(folder=Path("run")),
    )
    output["steer"] = SimpleNamespace(**steered, fingerprint=prints["steer"])
    outputs: Any = output
    return curve._Curves(run, outputs)


@pytest.mark.parametrize(("skipped", "last"), [({}, "label"), ({"label": "no"}, "train"), ({"train": "no"}, "label")])
def test_a_run_is_made_as_far_as_curves_read_it(skipped, last, monkeypatch):
    monkeypatch.setattr(curve, "skipped", lambda _: skipped)
    assert curve.last_stage(curves_of().run) == last


def test_what_allows_no_curve_is_said_before_anything_is_trained(monkeypatch):
    curves = curves_of(test=3)
    monkeypatch.setattr(curve, "skipped", lambda _: {"train": "no reranker", "label": "no student"})
    with pytest.raises(DataError, match=r"^run: no curve to draw: no reranker; no student$"):
        curve.last_stage(curves.run)
    curves.run.input.labels = SimpleNamespace(choosing=SimpleNamespace(fingerprint="these"))
    for dev, said in (
        ({}, "no held-out queries to measure on"),
        ({"dev": "these"}, "no held-out queries to measure on"),
        ({"dev": "others"}, "^run: the judged queries are not those of label; go on with: acclimate label run$"),
    ):
        label: Any = SimpleNamespace(manifest={"inputs": dev})
        with pytest.raises(DataError, match=said):
            curve.learning_curves(curves.run, {**curves.outputs, "label": label})


@pytest.mark.parametrize(("most", "shown"), [(3, "3 test queries of 8"), (8, "8 test queries"), (0, "8 test queries")])
def test_the_test_queries_are_those_that_evaluate_draws(most, shown):
    curves = curves_of(test=8, held_out=4, most=most, seed=2)
    drawn = curves.sets[curve.TEST]
    assert list(drawn.queries) == measuring.draw_queries(judged("test", 8).queries, most, 2)
    assert curves.name_of(curve.TEST) == shown
    assert " of " not in curves.name_of(curve.HELD_OUT)


def test_without_test_queries_the_held_out_ones_are_all():
    assert [*curves_of(held_out=4).sets] == [curve.HELD_OUT]


@pytest.mark.parametrize(("unit", "unaffected"), [("queries", {"label"}), ("lists", {"depth"})])
def test_a_point_depends_on_all_that_it_is_made_of(unit, unaffected, monkeypatch):
    monkeypatch.setattr(curve, "read_json", lambda _: {})

    def made_of(count=5, **changes: Any) -> dict[str, Any]:
        reached: dict[str, Any] = {}

        def make(name, work, *, settings, inputs, **options):
            reached.update(options, name=name, settings=settings, inputs=inputs)

        curves = curves_of(**{"test": 3, "held_out": 4, **changes})
        curves.__dict__["workspace"] = SimpleNamespace(make=make, folder=Path("run"))
        curves.point(unit, count, lambda *_: {})
        return reached

    before = made_of()
    assert (before["name"], before["unit"], before["settings"]["max_queries"]) == (f"{unit}-5", unit, 5)
    changes: dict[str, Any] = dict.fromkeys(("steer", "sample", "label", "documents", "base"), "others")
    changes |= {"test": 2, "held_out": 3, "depth": 49, "epochs": 2, "seed": 1, "count": 6}
    for name, value in changes.items():
        assert (made_of(**{name: value}) == before) == (name in unaffected), name


def test_a_curve_begins_where_no_point_is_trained_else_where_its_student_began():
    def values(**systems: float) -> curve.Values:
        return {curve.HELD_OUT: {name.replace("_", ":"): {"q": value} for name, value in systems.items()}}

    points = {5: values(static=0.5, static_start=0.2), 9: values(static=0.6, static_start=0.3)}
    for untrained, begins in ((values(), 0.2), (values(static=0.1), 0.1)):
        both = {0: untrained, **points}
        assert curve._systems(both) == ["static"]
        row = curve._curve("lists", 9, "static", both, 0, {"held-out": {}})
        assert row["untrained"]["held-out"]["nDCG@10"] == begins
        assert [point["held-out"]["nDCG@10"] for point in row["points"]] == [0.5, 0.6]
    never = {0: values(), 5: values(static=0.5)}
    assert curve._curve("lists", 9, "static", never, 0, {"held-out": {}})["untrained"] is None


def test_a_student_of_another_kind_than_the_base_begins_as_what_it_was_before(monkeypatch):
    monkeypatch.setattr(curve.measuring, "member_alone", lambda ids, members, name: members[str(name)])
    members = {"static": "static before", "static:adapted": "static after", "dense:adapted": "dense after"}
    distilled = SimpleNamespace(notes={"dense": "", "static": ""}, members=lambda _: members)
    made: list[Any] = []
    monkeypatch.setattr(curve.distill, "make", lambda *given: (made.append(given), distilled)[1])
    curves = curves_of()
    run: Any = curves.run
    run.base = SimpleNamespace(ids=[], members={"dense": "dense before", "bm25": "bm25"})
    run.settings["distill"]["student"] = ("dense", "static")
    run.variant = lambda folder, changes: changes
    outputs: Any = {name: name for name in "index sample filter steer label mine train".split()}
    curves.outputs = outputs
    assert curves.students(0, Path("made")) == {"dense": "dense before"}
    assert curves.students(5, Path("made")) == {
        "dense": "dense after",
        "static": "static after",
        "static:start": "static before",
    }
    changes = {"distill": {"max_queries": 5, "tune": ()}}
    assert made == [(changes, "index", "sample", "filter", "steer", "label", "mine")]
