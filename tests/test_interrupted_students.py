"""The training of students, interrupted or done again, ends with the same bytes; what is done is not done again."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")


from distilling import DEV, LEARN, TRAIN, training_of

from acclimate.base.digests import folder_fingerprint
from acclimate.learn.students.distillation import remove_notes
from acclimate.learn.students.kinds import STUDENTS
from acclimate.stages.distill import distill


@pytest.mark.parametrize("name", STUDENTS)
def test_an_interrupted_course_ends_with_the_same_bytes(name, base, data, tmp_path):
    def after_an_epoch(step):
        if step == 6:  # in the middle of the second epoch of four steps
            raise KeyboardInterrupt

    whole = training_of(name, base, data, tmp_path / "a")
    history = whole.run(lambda step: None)
    with pytest.raises(KeyboardInterrupt):
        training_of(name, base, data, tmp_path / "b").run(after_an_epoch)
    steps = []
    resumed = training_of(name, base, data, tmp_path / "b")
    assert resumed.run(steps.append) == history
    assert steps == [5, 6, 7, 8]
    for key, value in whole.weights.state_dict().items():
        assert torch.equal(value, resumed.weights.state_dict()[key]), key


def test_what_is_left_of_a_course_and_cannot_be_read_is_begun_again(base, data, tmp_path):
    (tmp_path / "a").write_bytes(b"")  # as a machine leaves it that lost its power
    (tmp_path / "b").write_bytes(b"PK" * 100)
    (tmp_path / "c").write_text("none")
    torch.save({"history": torch.zeros(9999)}, tmp_path / "d")
    (tmp_path / "d").write_bytes((tmp_path / "d").read_bytes()[:6000])
    histories = [training_of("static", base, data, tmp_path / name).run(lambda _: None) for name in "abcde"]
    assert histories == histories[:1] * 5


def test_a_student_that_has_learned_is_trained_once_however_often_the_next_is_interrupted(base, data, tmp_path):
    def learn(folder, told, **changes):
        options = {**LEARN, "student": ("dense-query", "static"), **changes}
        return distill([(TRAIN, DEV)], base, data, folder, progress=lambda *now: told(*now), **options)

    def stop_in_the_second(done, total):
        if 2 * done > total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "run", stop_in_the_second)
    shares = []
    notes = learn(tmp_path / "run", lambda done, total: shares.append(done / total))
    assert min(shares) > 0.5
    assert notes == learn(tmp_path / "alone", lambda *_: None)
    shares.clear()
    learn(tmp_path / "run", lambda done, total: shares.append(done / total), learning_rate=1e-4)
    assert min(shares) < 0.5  # other settings make another student
    remove_notes(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["dense", "static", "static-start"]


def test_the_same_training_saves_the_same_bytes_and_shuffled_examples_too(base, data, tmp_path):
    shuffled = random.Random(1).sample(TRAIN, len(TRAIN))
    for folder, train in ((tmp_path / "a", TRAIN), (tmp_path / "b", shuffled)):
        distill([(train, DEV)], base, data, folder, student=("dense-query",), **{**LEARN, "epochs": 1})
    assert folder_fingerprint(tmp_path / "a") == folder_fingerprint(tmp_path / "b")
