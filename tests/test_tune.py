"""Settings chosen by trying them: every combination, the best on held-out queries kept, each trial's result too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from files_page import undocumented

from acclimate.base.errors import SettingError
from acclimate.base.files import write_text
from acclimate.cli.main import main
from acclimate.learn.students.choices import CONTRASTIVE
from acclimate.learn.students.tuning import tune_students
from acclimate.report.choices import choices
from acclimate.run.settings import settings_of
from acclimate.search import measuring
from acclimate.search.names import STUDENT_KINDS
from acclimate.stages.distill import LOSSES, TUNABLE, distill
from acclimate.stages.trials import trials

DEFAULTS = {name: one.default for name, one in settings_of(distill).items()}
TUNE = ("teacher_temperature:0.03:0.06:0.12", "epochs:1:3")


def test_every_combination_is_tried_once_the_runs_own_first():
    found = trials(TUNE, DEFAULTS, TUNABLE)
    assert found[0] == {"teacher_temperature": 0.06, "epochs": 3}
    assert len(found) == 6 == len({tuple(one.values()) for one in found})
    assert {one["teacher_temperature"] for one in found} == {0.03, 0.06, 0.12}
    assert {type(one["epochs"]) for one in found} == {int}
    assert trials(("epochs:1:2",), DEFAULTS, TUNABLE) == [{"epochs": 3}, {"epochs": 1}, {"epochs": 2}]
    assert trials((), DEFAULTS, TUNABLE) == [{}]


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        ("epoch:1:2", "no setting of distill to tune named 'epoch'. Did you mean 'epochs'"),
        ("student:dense", "no setting of distill to tune named 'student'"),
        ("epochs", "expected setting:value:value"),
        ("epochs:1.5", "expected a whole number"),
        ("contrastive:half", "expected a number"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_done(tune, expected, tmp_path, capsys):
    with pytest.raises(SettingError, match="distill"):
        trials((tune,), DEFAULTS, TUNABLE)
    corpus = tmp_path / "a.csv"
    corpus.write_text("id,text\n1,something to read\n")
    assert main(["adapt", str(corpus), "--out", str(tmp_path / "run"), "--set", f"distill.tune={tune}"]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run" / "index").exists()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("loss=mse", "no distill.loss named 'mse'"),
        ("contrastive=1.5", "expected a number: 0 to 1"),
        ("teacher_temperature=nan", "teacher_temperature is nan; expected a number: 0.0001 to"),
        ("batch_size=0", "expected a whole number: 1 to"),
        ("token_ways=1", "expected a whole number: 2 to"),
        ("max_queries=-1", "expected a whole number: 0 to"),
        ("tune=contrastive:0.5:1.5", "distill.tune: contrastive is 1.5; expected a number: 0 to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_done(setting, expected, tmp_path, capsys):
    corpus = tmp_path / "a.csv"
    corpus.write_text("id,text\n1,something to read\n")
    assert main(["adapt", str(corpus), "--out", str(tmp_path / "run"), "--set", f"distill.{setting}"]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run" / "index").exists()


def test_every_loss_is_one_that_can_be_named():
    from acclimate.learn.students import losses

    assert {*losses.LOSSES, CONTRASTIVE} == set(LOSSES)


class Trials:
    """Students that are a file each, as good as `ndcg` says of their settings."""

    def __init__(self, ndcg):
        self.ndcg, self.learned = ndcg, []

    def learn(self, settings, folder: Path):
        assert settings["tune"] == ()
        self.learned.append((settings["student"], settings["epochs"], settings["teacher_temperature"]))
        notes = {}
        for name in settings["student"]:
            kind = STUDENT_KINDS[name]
            write_text(folder / kind / "model", json.dumps([name, settings["epochs"], settings["teacher_temperature"]]))
            notes[kind] = {"student": name, "dev_loss": [settings["epochs"]]}
        return notes

    def measure(self, folder: Path, notes):
        found = {}
        for kind in notes:
            _, epochs, temperature = json.loads((folder / kind / "model").read_text())
            found[kind] = self.ndcg(kind, epochs, temperature)
        return found

    def run(self, folder, **changes):
        settings = {**DEFAULTS, "tune": TUNE, **changes}
        return tune_students(folder, settings, trials(settings["tune"], settings, TUNABLE), self.learn, self.measure)


def best_differs(kind, epochs, temperature):
    return 0.5 + 0.1 * (temperature == (0.03 if kind == "dense" else 0.12)) + 0.01 * (epochs == 1)


def test_each_student_is_kept_with_its_own_best_settings(tmp_path):
    one = Trials(best_differs)
    notes = one.run(tmp_path)
    assert json.loads((tmp_path / "dense" / "model").read_text()) == ["dense-query", 1, 0.03]
    late = json.loads((tmp_path / "late-interaction" / "model").read_text())
    assert late == ["late-interaction-query", 1, 0.12]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense", "late-interaction"]
    for kind, note in notes.items():
        rows = note["tried"]
        assert len(rows) == 6
        assert [row["nDCG@10"] for row in rows if row["chosen"]] == [max(row["nDCG@10"] for row in rows)] == [0.61]
        assert note["student"] == f"{kind}-query"
        assert note["dev_loss"] == [1]  # the notes are those of the student that is kept
    assert notes["dense"]["tried"][0]["value"] == "teacher_temperature 0.06, epochs 3"


def test_of_equals_the_runs_own_settings_are_kept(tmp_path):
    notes = Trials(lambda *_: 0.5).run(tmp_path)
    assert all(note["tried"][0]["chosen"] for note in notes.values())
    assert json.loads((tmp_path / "dense" / "model").read_text()) == ["dense-query", 3, 0.06]


def test_without_tuning_everything_is_trained_once_together(tmp_path):
    one = Trials(best_differs)
    notes = one.run(tmp_path, tune=())
    assert one.learned == [(DEFAULTS["student"], 3, 0.06)]
    assert not any("tried" in note for note in notes.values())


@pytest.mark.parametrize("at", range(1, 12))
def test_an_interrupted_search_trains_no_trial_twice_and_ends_the_same(tmp_path, at):
    whole = Trials(best_differs).run(tmp_path / "whole")
    one = Trials(best_differs)
    learn = one.learn

    def stops(settings, folder):
        if len(one.learned) == at:
            raise KeyboardInterrupt
        return learn(settings, folder)

    one.learn = stops
    with pytest.raises(KeyboardInterrupt):
        one.run(tmp_path / "run")
    one.learn = learn
    assert one.run(tmp_path / "run") == whole
    assert len(one.learned) == len(set(one.learned)) == 12
    for kind in whole:
        model = (tmp_path / "run" / kind / "model").read_text()
        assert model == (tmp_path / "whole" / kind / "model").read_text()


@pytest.mark.parametrize("gone", [("dense-query-1", "dense-query-3"), ("dense-query-1/made",)])
def test_a_search_that_was_stopped_while_it_tidied_up_ends_the_same(gone, tmp_path, monkeypatch):
    whole = Trials(best_differs).run(tmp_path / "whole")
    one, remove, stopped = Trials(best_differs), shutil.rmtree, []

    def stops(path, **options):
        if path.name == "trials" and not stopped:
            stopped.append(path)
            for name in gone:  # not all of them yet; the best one is among them
                remove(path / name)
            raise KeyboardInterrupt
        remove(path, **options)

    monkeypatch.setattr("acclimate.learn.students.tuning.shutil.rmtree", stops)
    with pytest.raises(KeyboardInterrupt):
        one.run(tmp_path / "run")
    assert one.run(tmp_path / "run") == whole
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["dense", "late-interaction"]
    for kind in whole:
        assert (tmp_path / "run" / kind / "model").read_text() == (tmp_path / "whole" / kind / "model").read_text()


def test_no_more_than_two_trials_take_space_at_once(tmp_path):
    one = Trials(best_differs)
    learn, most = one.learn, []

    def counts(settings, folder):
        notes = learn(settings, folder)
        most.append(len(list((tmp_path / "trials").rglob("model"))))
        return notes

    one.learn = counts
    one.run(tmp_path)
    assert max(most) == 2  # the best so far, and the one that is made


@pytest.mark.slow
def test_the_chain_tunes_on_held_out_queries_and_says_so(labelled, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(labelled, run)
    asked = []
    measure = measuring.ndcg
    monkeypatch.setattr(
        measuring, "ndcg", lambda retriever, judged: (asked.append(str(judged)), measure(retriever, judged))[1]
    )
    assert main(["distill", str(run), "--student", "dense-query", "--tune", "learning_rate:0.5:1e-5"]) == 0
    assert len(asked) == 3
    assert all("synthetic" in name for name in asked)
    assert main(["evaluate", str(run)]) == 0
    report = json.loads((run / "report.json").read_text())
    rows = [row for row in report["tried"] if row["what"] == "settings of dense:adapted"]
    assert [row["value"] for row in rows] == [f"learning_rate {value}" for value in (4e-05, 0.5, 1e-05)]
    assert sum(row["chosen"] for row in rows) == 1
    assert undocumented(run) == set()
    page = (run / "report.html").read_text()
    assert all(row["value"] in page for row in report["tried"])
    reached = next(row["nDCG@10"] for row in rows if row["chosen"])
    assert reached == max(row["nDCG@10"] for row in rows)
    assert reached == pytest.approx(report["held_out_ndcg"]["dense:adapted"], abs=2e-3)
    assert not (run / "distill" / "trials").exists()


# What the report says was tried

LABEL = {
    "weights": {"bm25": 0.3, "dense": 0.5, "late-interaction": 0.0, "reranker": 0.2},
    "teachers": [
        {"name": name, "nDCG@10": ndcg}
        for name, ndcg in (
            ("bm25", 0.7),
            ("dense", 0.6),
            ("late-interaction", 0.8),
            ("reranker", 0.5),
            ("teacher", 0.9),
        )
    ],
}
CHOSEN = {
    "weights": {"bm25": {"bm25": 1.0}, "dense": {"dense": 1.0}, "hybrid": {"bm25": 0.25, "dense": 0.75, "late": 0.0}},
    "ndcg": {"bm25": 0.7, "dense": 0.6, "hybrid": 0.8, "dense:adapted": 0.65, "hybrid+reranker": 0.82},
    "candidate": "hybrid+reranker",
    "reranker_weights": {"hybrid": 0.4},
}


def test_every_choice_has_its_figures_and_one_that_was_taken():
    rows = choices(
        LABEL, CHOSEN, {"dense": {"tried": [{"value": "epochs 3", "nDCG@10": 0.5, "chosen": True}]}, "x": {}}
    )
    of = {what: [row for row in rows if row["what"] == what] for what in dict.fromkeys(row["what"] for row in rows)}
    assert list(of) == [
        "teacher",
        "settings of dense:adapted",
        "weights of hybrid",
        "weights of hybrid+reranker",
        "candidate",
    ]
    assert all(sum(row["chosen"] for row in own) == 1 for own in of.values())
    assert {row["value"]: row["nDCG@10"] for row in of["teacher"]} == {
        "bm25 alone": 0.7,
        "dense alone": 0.6,
        "late-interaction alone": 0.8,
        "reranker alone": 0.5,
        "bm25 0.30 + dense 0.50 + reranker 0.20": 0.9,
    }
    assert next(row["value"] for row in of["candidate"] if row["chosen"]) == "hybrid+reranker"
    assert of["weights of hybrid"][0]["value"] == "bm25 0.25 + dense 0.75"
