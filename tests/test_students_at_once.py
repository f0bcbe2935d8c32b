"""Students of which only queries learn do so at once, each on a core, and come to the bytes of one after the other."""

from __future__ import annotations

import threading

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from distilling import DEV, LEARN, TRAIN

from acclimate.base.digests import folder_fingerprint
from acclimate.learn.students.training import StudentTraining
from acclimate.stages.distill import distill

STUDENTS = ("dense-query", "late-interaction-query", "sparse")  # the last one learns documents, too


@pytest.fixture
def learn(base, data, tmp_path, monkeypatch):
    """Call it to train all of them into a folder, on so many cores; it returns their bytes, and who trained where."""
    run, before = StudentTraining.run, torch.get_num_threads()
    where: dict[str, threading.Thread] = {}

    def seen(training, progress):
        where[training.student.kind] = threading.current_thread()
        return run(training, progress)

    monkeypatch.setattr(StudentTraining, "run", seen)

    def learn(name, n_cores, progress=lambda done, total: None):
        where.clear()
        torch.set_num_threads(n_cores)
        notes = distill([(TRAIN, DEV)], base, data, tmp_path / name, student=STUDENTS, progress=progress, **LEARN)
        return folder_fingerprint(tmp_path / name), notes, dict(where)

    yield learn
    torch.set_num_threads(before)


def test_on_any_number_of_cores_they_are_the_same_bytes(learn):
    alone, notes, where = learn("alone", 1)
    assert {*where.values()} == {threading.main_thread()}
    counts, callers = [], set()
    at_once, notes_at_once, where = learn(
        "at once", 3, lambda *now: (counts.append(now), callers.add(threading.current_thread()))
    )
    assert len({*where.values()}) == 3
    assert where["sparse"] is threading.main_thread()  # a batch with documents is divided itself
    assert at_once == alone
    assert notes_at_once == notes
    assert [*notes] == ["dense", "late-interaction", "sparse"]
    assert callers == {threading.main_thread()}
    total = sum(note["steps"] for note in notes.values())
    assert counts == sorted(counts)
    assert {total} == {of_all for _, of_all in counts}
    assert counts[-1] == (total, total)


def test_where_one_fails_the_others_stop_and_all_go_on_from_there(learn, monkeypatch):
    alone, notes, _ = learn("alone", 1)
    step, steps, both_learn = StudentTraining._step, [], threading.Barrier(2)

    def fails(training, share, weight):
        steps.append(training.student.kind)
        if steps.count(training.student.kind) < 6:  # both have saved what they know after four
            both_learn.wait(timeout=60)
        if training.student.kind == "dense" and steps.count("dense") == 6:
            raise RuntimeError("lost")
        return step(training, share, weight)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="lost"):
        patch.setattr(StudentTraining, "_step", fails)
        learn("run", 3)
    assert "sparse" not in steps
    learned_again = []
    monkeypatch.setattr(
        StudentTraining, "_step", lambda training, *read: learned_again.append(training) or step(training, *read)
    )
    again, notes_again, _ = learn("run", 3)
    assert (again, notes_again) == (alone, notes)
    assert len(learned_again) == sum(note["steps"] for note in notes.values()) - 8  # what was saved is not
