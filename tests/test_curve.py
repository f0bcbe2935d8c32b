"""Learning curves: nested parts, points that are kept, a run that is left as it is, and a sentence that follows a rule.

The models are tiny and know nothing: what is measured says nothing, what is kept and said of it does.
"""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from files_page import undocumented

from acclimate.base.draw import subset
from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import FakeRetriever
from acclimate.base.text import command
from acclimate.cli.main import main
from acclimate.corpus.formats import read_nway
from acclimate.records import NWay, Query, ScoredDoc
from acclimate.report import curves, formatting
from acclimate.stages import curve, distill, train
from acclimate.stages.steer import Steered


@pytest.fixture(scope="module")
def drawn(labelled, tmp_path_factory) -> Path:
    """The same with curves of two points each. Tests read it, or work on a copy."""
    run = tmp_path_factory.mktemp("drawn") / "run"
    shutil.copytree(labelled, run)
    assert main(["curve", str(run), "--queries", "4,8", "--lists", "5,9999"]) == 0
    return run


@pytest.fixture
def copied(drawn, tmp_path) -> Path:
    shutil.copytree(drawn, tmp_path / "run")
    return tmp_path / "run"


def found(run: Path) -> dict:
    return json.loads((run / "curve.json").read_text())


# Parts


@pytest.mark.parametrize("seed", [0, 1])
def test_a_smaller_part_lies_within_a_larger_one_whatever_the_order(seed):
    examples = [NWay(f"q{n}", ("a",)) for n in range(50)]
    parts = [{one.query_id for one in subset(examples, count, seed)} for count in (5, 20, 50, 99)]
    assert [len(part) for part in parts] == [5, 20, 50, 50]
    assert parts[0] < parts[1] < parts[2] == parts[3]
    assert subset(examples[::-1], 20, seed) == subset(examples, 20, seed)
    assert subset(examples, 20, seed) != subset(examples, 20, seed + 1)


def test_points_double_up_to_all():
    assert curve.points(712, None) == [100, 200, 400, 712]
    assert curve.points(400, None) == [100, 200, 400]
    assert curve.points(60, None) == [15, 30, 60]
    assert curve.points(2, None) == [1, 2]
    assert curve.points(1, None) == [1]
    assert curve.points(60, [30, 10, 30, 500]) == [10, 30, 60]
    assert curve.points(60, []) == []
    assert curve.points(60, [1]) == [1]
    with pytest.raises(SettingError, match=r"a number of a curve is .*; expected whole numbers"):
        curve.points(60, [0, 10])


@pytest.mark.parametrize("unit", ["queries", "lists"])
def test_a_number_that_cannot_be_is_refused_before_anything_is_read(unit):
    with pytest.raises(SettingError, match=r"a number of a curve is .*; expected whole numbers"):
        curve.learning_curves(None, {}, **{unit: [0, 10]})  # pyright: ignore[reportArgumentType]


# What is measured


def test_every_point_has_both_sets_with_intervals_around_the_mean(drawn):
    whole = found(drawn)
    lists = sum(1 for _ in read_nway(drawn / "label" / "train.jsonl"))
    assert [(one["unit"], one["system"]) for one in whole["curves"]] == [
        ("queries", "reranker"),
        ("lists", "dense"),
        ("lists", "late-interaction"),
    ]
    assert whole["sets"]["held-out"]["synthetic"] and not whole["sets"]["test"]["synthetic"]
    for one in whole["curves"]:
        counts = [point[one["unit"]] for point in one["points"]]
        assert counts == ([4, 8] if one["unit"] == "queries" else [5, lists])
        for point in (*one["points"], one["untrained"]):
            for name in ("held-out", "test"):
                low, high = point[name]["interval"]
                assert 0 <= low <= point[name]["nDCG@10"] <= high <= 1
        assert (one["last"]["from"], one["last"]["to"]) == tuple(counts)
        assert one["last"]["on"] == "test"  # the held-out queries chose
        step = one["points"][1]["test"]["nDCG@10"] - one["points"][0]["test"]["nDCG@10"]
        assert one["last"]["delta"] == pytest.approx(step, abs=2e-5)
    assert undocumented(drawn) == set()


def test_the_last_point_is_the_students_of_the_run_itself(drawn, tmp_path):
    """All lists, the same seed: what `distill` makes, measured as `evaluate` does."""
    shutil.copytree(drawn, tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    measured = {one["name"]: one["measures"]["nDCG@10"] for one in report["systems"]}
    for one in found(drawn)["curves"]:
        if one["unit"] == "lists":
            assert one["points"][-1]["test"]["nDCG@10"] == measured[f"{one['system']}:adapted"]
            assert one["untrained"]["test"]["nDCG@10"] == measured[one["system"]]
            assert one["points"][-1]["held-out"]["nDCG@10"] == pytest.approx(
                report["held_out_ndcg"][f"{one['system']}:adapted"], abs=2e-3
            )


def test_a_reranker_reorders_what_was_found_and_no_more():
    hits = {"lava": {"a": 3.0, "b": 2.0, "c": 1.0}}
    queries = [Query("q", "lava"), Query("none", "nothing")]
    one = curve.CachedRetriever.of(FakeRetriever(hits), queries)
    assert one.search(queries, 2) == [ScoredDoc("q", "a", 3.0), ScoredDoc("q", "b", 2.0)]


# What is kept


def test_the_run_is_left_as_it_is_and_no_model_stays(labelled, drawn):
    def contents(run: Path) -> dict[str, bytes]:
        files = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if not name.startswith(("curve", ".lock"))}

    assert contents(drawn) == contents(labelled)
    assert not list((drawn / "curve").rglob("*.safetensors"))
    assert sorted(path.name for path in (drawn / "curve" / "lists-5").iterdir()) == ["manifest.json", "measured.json"]


def test_a_repeated_command_trains_nothing_and_says_the_same(copied, monkeypatch, capsys):
    before = found(copied)
    for stage in (train, distill):
        monkeypatch.setattr(stage, "make", lambda *_: pytest.fail("something was trained"))
    assert main(["curve", str(copied), "--queries", "4,8", "--lists", "5,9999"]) == 0
    assert found(copied) == before
    assert "made already" in capsys.readouterr().err


def test_one_more_point_trains_that_point_only(copied, monkeypatch):
    trained = []
    for stage, name in ((train, "train"), (distill, "distill")):

        def make(run, *earlier, make=stage.make, name=name):
            trained.append(run.settings[name]["max_queries"])
            return make(run, *earlier)

        monkeypatch.setattr(stage, "make", make)
    assert main(["curve", str(copied), "--queries", "none", "--lists", "5,7"]) == 0
    assert trained == [7]
    assert {one["unit"] for one in found(copied)["curves"]} == {"lists"}


def test_an_interrupted_point_is_made_again_to_the_same_values(copied, drawn):
    point = copied / "curve" / "lists-5"
    (point / "manifest.json").unlink()
    (point / "measured.json").unlink()
    assert main(["curve", str(copied), "--queries", "4,8", "--lists", "5,9999"]) == 0
    assert (point / "measured.json").read_bytes() == (drawn / "curve" / "lists-5" / "measured.json").read_bytes()


def test_an_unfinished_run_is_refused_with_the_command_that_goes_on(copied, capsys):
    shutil.rmtree(copied / "label")
    assert main(["curve", str(copied)]) == 2
    assert command("label", copied) in capsys.readouterr().err
    assert main(["curve", str(copied), "--lists", "5,many"]) == 2
    assert "expected whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize("measured", [True, False])
def test_queries_that_chose_prove_nothing(measured):
    chosen, test = ({f"{name}{at}": at / 20 for at in range(20)} for name in "ht")
    values = {
        count: {
            "held-out": {"dense": {query: value + count / 100 for query, value in chosen.items()}},
            **({"test": {"dense": dict(test)}} if measured else {}),
        }
        for count in (0, 4, 8)
    }
    row = curve._curve("lists", 8, "dense", values, 0, {"held-out": dict.fromkeys(chosen, "d"), "test": {}})
    last, point = row["last"], row["points"][-1]
    assert point["held-out"]["interval"] == [0, 1]  # all were written for one document
    if measured:
        assert point["test"]["interval"] != [0, 1]
        assert (last["on"], last["delta"], last["p"]) == ("test", 0.0, 1.0)  # whatever the held-out ones gained
    else:
        assert last is None


# What is said


def step(delta: float, ci95: tuple[float, float], p: float) -> dict:
    return {
        "unit": "lists",
        "system": "dense",
        "last": {"on": "test", "from": 400, "to": 800, "delta": delta, "ci95": list(ci95), "p": p},
    }


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            step(0.004, (-0.006, 0.015), 0.41),
            "gained 0.004, not significantly (p = 0.410 on 83): more lists will",
        ),
        (step(0.004, (-0.03, 0.06), 0.41), "these queries cannot tell whether more lists help"),
        (step(0.05, (0.03, 0.06), 0.0001), "gained 0.050, significantly (p < 0.001 on 83): more lists should"),
        (step(-0.05, (-0.06, -0.03), 0.01), "lost 0.050, significantly (p = 0.010 on 83): more lists like"),
        (step(0.0, (-0.01, 0.01), 1.0), "did not change, not significantly"),
    ],
)
def test_the_sentence_follows_the_rule(one, expected):
    said = curves.sentence(one, "83")
    assert said.startswith("from 400 to 800 lists dense ")
    assert expected in said


def test_a_small_step_on_synthetic_queries_does_not_count():
    small, large = (step(delta, (0.01, 0.06), 0.001) for delta in (0.024, 0.025))
    sets = {"test": {"name": "90", "synthetic": True}}
    said = curves.sentences({"sets": sets, "curves": [small, large, {**large, "last": None, "points": [{}]}]})
    assert "less than the error of synthetic queries, 0.025 (p = 0.001 on 90)" in said[0]
    assert "significantly" in said[1] and "no trend" in said[2]
    sets["test"]["synthetic"] = False
    assert "significantly" in curves.sentences({"sets": sets, "curves": [small]})[0]


def test_one_point_shows_no_trend():
    one = {"unit": "lists", "system": "dense", "last": None, "points": [{}]}
    assert "no trend" in curves.sentence(one, "")
    assert "may be due to chance" in curves.sentence({**one, "points": [{}, {}]}, "")


def test_table_and_page_say_every_figure_and_mark_synthetic_ones(drawn):
    whole = found(drawn)
    table, page = curves.text(whole), curves.page(whole)
    for one in whole["curves"]:
        for point in (*one["points"], one["untrained"]):
            for name in whole["sets"]:
                assert formatting.score(point[name]["nDCG@10"]) in table
                assert formatting.score(point[name]["nDCG@10"]) in page
    assert all(len(line) <= 100 for line in table.splitlines())
    sets = {name: {"name": "9 synthetic queries", "synthetic": True} for name in whole["sets"]}
    rows = [one | {"system": "late-interaction"} for one in whole["curves"]]
    assert "…" not in curves.text({**whole, "sets": sets, "curves": rows})  # whole intervals, also of the widest table
    for text in (table, page):
        assert "held-out synthetic queries, usually optimistic" in text
        assert "p &lt; 0.05" in text or "p < 0.05" in text
        assert "test queries, which" not in text
    assert page.count("<svg") == 2 * len(whole["curves"])


def test_the_page_loads_nothing_and_escapes_what_it_shows(drawn):
    whole = found(drawn) | {"corpus": "<script>alert(1)</script>"}

    page = curves.page(whole)
    seen: set[str] = set()
    tags = HTMLParser()
    tags.handle_starttag = lambda tag, attrs: seen.add(tag)
    tags.feed(page)
    assert "svg" in seen
    assert not {"script", "link", "img", "iframe"} & seen
    assert not re.search(r"""(src|href)=|url\(|@import""", page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0


def test_no_curve_without_anything_held_out(labelled, monkeypatch):
    from acclimate.corpus.judged_queries import NOTHING_JUDGED
    from acclimate.stages.runs import open_run

    monkeypatch.setattr(Steered, "choosing", lambda *_: NOTHING_JUDGED)
    with pytest.raises(DataError, match="no held-out queries"):
        curve.learning_curves(*open_run(labelled, "label"))
