"""Settings of train and distill reach what they name: a method is its values, wherever they are handed on."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import easy_task
from distilling import DEV, TRAIN
from hypothesis import given as drawn
from hypothesis import strategies as st

from acclimate.base import models
from acclimate.learn.rerankers import training as reranker_training
from acclimate.learn.rerankers.hyperparameters import Hyperparameters
from acclimate.learn.schedules import rates
from acclimate.learn.students import train_student
from acclimate.learn.students.batches import mean_loss, read_batch
from acclimate.learn.students.kinds import STUDENTS
from acclimate.learn.students.losses import DistillationLoss
from acclimate.stages.distill import distill


class Stopped(Exception):
    """Raised in place of a training."""


@pytest.mark.parametrize("loss", ["kl", "margin-mse"])
def test_a_student_s_loss_has_every_setting_of_its_own(loss, base, data, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "fast_bf16", lambda: False)
    settings = {
        "teacher_temperature": 0.3,
        "contrastive": 0.4,
        "mask_above": 0.35,
        "student_temperature": 0.2,
        "contrastive_temperature": 0.1,
    }
    student = STUDENTS["dense"].make(base.copy(), data, "list")
    expected = mean_loss(student, DistillationLoss(loss, **settings), read_batch(student, DEV, {})).item()
    notes = distill(
        [(TRAIN, DEV)], base, data, tmp_path, student=("dense",), negatives="list", epochs=0, loss=loss, **settings
    )
    assert notes["dense"]["dev_loss"] == [pytest.approx(expected, abs=1e-4)]
    for name in settings:
        other = DistillationLoss(loss, **{**settings, name: 2 * settings[name]})
        assert abs(mean_loss(student, other, read_batch(student, DEV, {})).item() - expected) > 1e-3, name


@pytest.mark.parametrize(("name", "rate"), [("dense", 3e-3), ("static", 7e-3)])
def test_a_student_s_training_has_every_setting_of_its_own(name, rate, base, data, tmp_path, monkeypatch):
    given = {}

    def stop(student, train, dev, loss, state_path, **settings):
        given.update(settings)
        raise Stopped

    monkeypatch.setattr(train_student, "StudentTraining", stop)
    settings = {"epochs": 5, "max_steps": 9, "batch_size": 3, "evaluations": 2, "schedule": "constant"}
    with pytest.raises(Stopped):
        distill(
            [(TRAIN, DEV)], base, data, tmp_path, student=(name,), learning_rate=3e-3, table_learning_rate=7e-3, seed=4,
            document_ways=5, token_ways=6, **settings,
        )  # fmt: skip
    cut = given.pop("cut")
    assert given == {**settings, "learning_rate": rate, "seed": 4}
    assert len(cut(TRAIN[0], 0).doc_ids) == (5 if name == "dense" else len(TRAIN[0].doc_ids))


def test_a_reranker_s_training_has_every_setting_of_its_own(tiny_encoder, tmp_path, monkeypatch):
    given = []

    def stop(trainer, checkpoint):
        trainer.create_optimizer_and_scheduler(4)
        given.append((trainer.args, *map(trainer.lr_scheduler.lr_lambdas[0], range(4))))
        raise Stopped

    monkeypatch.setattr(reranker_training, "_trained", stop)
    settings = {
        "learning_rate": 7e-4, "weight_decay": 0.123, "gradient_accumulation": 3, "optimizer": "adafactor",
        "epochs": 4, "seed": 8,
    }  # fmt: skip
    for precision, schedule in (("float32", "constant"), ("bfloat16", "linear")):
        with pytest.raises(Stopped):
            easy_task.trained(tiny_encoder, tmp_path, precision=precision, schedule=schedule, **settings)
    (first, *constant), (second, *linear) = given
    assert (first.learning_rate, first.weight_decay, first.gradient_accumulation_steps) == (7e-4, 0.123, 3)
    assert (first.optim, first.num_train_epochs, first.seed) == ("adafactor", 4, 8)
    assert (first.max_grad_norm, first.bf16, second.bf16) == (1.0, False, True)
    assert (constant, linear) == ([1, 1, 1, 1], [1, 1, 2 / 3, 1 / 3])


@drawn(st.integers(1, 300))
def test_every_step_of_a_schedule_teaches_and_one_at_the_peak(steps):
    shares = [*map(rates("linear", steps), range(steps))]
    assert 0 < min(shares) <= max(shares) == 1
    assert shares.index(1) == max(1, steps // 10) - 1


@pytest.mark.parametrize(
    ("precision", "is_fast", "expected"),
    [("auto", True, True), ("auto", False, False), ("float32", True, False), ("bfloat16", False, True)],
)
def test_precision_is_the_machine_s_only_where_it_is_left_to_it(precision, is_fast, expected, monkeypatch):
    monkeypatch.setattr(models, "fast_bf16", lambda: is_fast)
    fields = dict.fromkeys(Hyperparameters.__dataclass_fields__, 0) | {"precision": precision}
    assert Hyperparameters(**fields).is_bf16 is expected
