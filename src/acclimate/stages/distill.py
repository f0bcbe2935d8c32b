"""The teacher's judgement goes into fast retrievers: KL divergence, and a share for the source document itself.

The loop is the same for every kind of student (see `students`): each query once an epoch, in an order that follows from
seed and epoch, AdamW, a linear warm-up and decay. The weights kept are those with the lowest loss on held-out queries,
the untouched ones included. State is saved after every epoch, so a killed run loses one epoch at most and ends with
the same bytes.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from acclimate import models
from acclimate.errors import DataError, SettingError, unknown
from acclimate.files import written
from acclimate.records import NWay
from acclimate.retrieve.encoder import Encoder
from acclimate.students import STUDENTS, Lesson, Student, save

_MAX_NORM = 1.0


def distill(
    train: Sequence[NWay],
    dev: Sequence[NWay],
    encoder: Encoder,
    lesson: Lesson,
    folder: Path,
    *,
    student: tuple[str, ...] = ("dense-query", "late-interaction-query"),
    base: str = "embedded:all-minilm-l6-v2",
    epochs: int = 4,
    learning_rate: float = 5e-5,
    batch_size: int = 16,
    document_ways: int = 8,
    teacher_temperature: float = 0.1,
    contrastive: float = 0.1,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """Train each named student from the teacher's scores into `folder/KIND`. Returns, by kind, how it went.

    `train` and `dev` hold teacher scores, the source document first; `encoder` is `base`, which stays as it is.
    Raises SettingError for an unknown student or two of one kind, DataError without examples or teacher scores.

    Parameters
    ----------
    student
        Which retrievers to train: dense, dense-query, late-interaction, late-interaction-query (query: the query
        encoder only, the index stays valid).
    base
        Encoder that is adapted, and compared with.
    epochs
        Times that every query is seen, at most; the best epoch is kept.
    learning_rate
        Peak of AdamW's learning rate.
    batch_size
        Queries per step.
    document_ways
        Documents per query for students that encode documents as they learn; the best by the teacher's score.
    teacher_temperature
        Divides the teacher's scores, which lie in [0, 1]: lower is sharper.
    contrastive
        Share of the target that goes to the source document whatever the teacher says, 0 to 1.
    """
    check_students(student)
    if not train or not dev:
        raise DataError(f"{len(train)} training and {len(dev)} held-out queries; expected both (more documents?)")
    if not 0 <= contrastive <= 1 or teacher_temperature <= 0:
        raise SettingError("distill.contrastive must be in [0, 1] and distill.teacher_temperature above 0")
    if any(len(example.scores) != len(example.doc_ids) for example in (*train, *dev)):
        raise DataError("a training example without teacher scores; label comes before distill")

    steps = epochs * -(-len(train) // batch_size)
    notes: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(student):
        make, temperature = STUDENTS[name]
        learner = make(encoder.copy(), lesson, temperature)
        ways = None if learner.keeps_index else document_ways
        course = _Course(
            learner,
            [_shortened(example, ways) for example in train],
            [_shortened(example, ways) for example in dev],
            folder / f"{learner.kind}.state",
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            temperature=teacher_temperature,
            contrastive=contrastive,
            seed=seed,
        )
        history = course.run(lambda step, at=number: progress(at * steps + step, len(student) * steps))
        save(learner, encoder, folder / learner.kind)
        course.state_path.unlink(missing_ok=True)
        notes[learner.kind] = {
            "student": name,
            "keeps_index": learner.keeps_index,
            "dev_loss": history,
            "best_epoch": min(range(len(history)), key=history.__getitem__),
            "queries": len(train),
        }
    return notes


def check_students(names: Sequence[str]) -> None:
    """Raises SettingError for a student that does not exist, and for two that would have one name when adapted."""
    for name in names:
        if name not in STUDENTS:
            raise unknown("student", name, STUDENTS)
    kinds = [STUDENTS[name][0].kind for name in names]
    if not names or len(kinds) != len(set(kinds)):
        raise SettingError(f"distill.student is {','.join(names)!r}; expected one or more, of different kinds")


class _Course:
    """One student's training, which can be interrupted between epochs."""

    def __init__(
        self,
        student: Student,
        train: list[NWay],
        dev: list[NWay],
        state_path: Path,
        *,
        epochs: int,
        learning_rate: float,
        batch_size: int,
        temperature: float,
        contrastive: float,
        seed: int,
    ) -> None:
        self.student, self.train, self.dev, self.state_path = student, train, dev, state_path
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed
        self.temperature, self.contrastive = temperature, contrastive
        self.weights = student.encoder.model
        # Dropout would make the student unlike the teacher's view of it, and a resumed run unlike an undisturbed one.
        self.weights.eval()
        self.optimizer = torch.optim.AdamW(self.weights.parameters(), lr=learning_rate, weight_decay=0.01)
        steps = epochs * -(-len(train) // batch_size)
        warm_up = max(1, steps // 10)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up))
        )

    def run(self, progress: Callable[[int], None]) -> list[float]:
        """Losses on the held-out queries: before training, then after each epoch. Leaves the best weights in place."""
        history, best = self._resume()
        if not history:
            history, best = [self.dev_loss()], copy.deepcopy(self.weights.state_dict())
        for epoch in range(len(history) - 1, self.epochs):
            order = sorted(self.train, key=lambda example: example.query_id)
            random.Random(f"{self.seed}:{epoch}").shuffle(order)
            for start in range(0, len(order), self.batch_size):
                self._step(order[start : start + self.batch_size])
                progress(epoch * -(-len(order) // self.batch_size) + start // self.batch_size + 1)
            history.append(self.dev_loss())
            if history[-1] < min(history[:-1]):
                best = copy.deepcopy(self.weights.state_dict())
            self._save(history, best)
        self.weights.load_state_dict(best)
        return history

    def _step(self, batch: list[NWay]) -> None:
        with torch.autocast(models.device(), torch.bfloat16, enabled=not self.student.keeps_index and models.fast_bf16()):
            loss = self._loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.parameters(), _MAX_NORM)
        self.optimizer.step()
        self.schedule.step()

    def _loss(self, batch: list[NWay]) -> torch.Tensor:
        """Mean KL divergence of the student from the target: the teacher's softmax, with a share for the source."""
        losses: list[torch.Tensor] = []
        for example, logs in zip(batch, self.student.log_probs(batch), strict=True):
            target = torch.softmax(torch.tensor(example.scores, device=logs.device) / self.temperature, dim=-1)
            target = target * (1 - self.contrastive)
            target[0] += self.contrastive
            losses.append((target * (target.clamp_min(1e-9).log() - logs.float())).sum())
        return torch.stack(losses).mean()

    @torch.no_grad()
    def dev_loss(self) -> float:
        """The loss on the held-out queries."""
        total = 0.0
        for start in range(0, len(self.dev), self.batch_size):
            batch = self.dev[start : start + self.batch_size]
            total += self._loss(batch).item() * len(batch)
        return round(total / len(self.dev), 6)

    def _save(self, history: list[float], best: Mapping[str, torch.Tensor]) -> None:
        state = {
            "history": history,
            "best": best,
            "weights": self.weights.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
        }
        with written(self.state_path) as beside:
            torch.save(state, beside)

    def _resume(self) -> tuple[list[float], dict[str, torch.Tensor]]:
        if not self.state_path.exists():
            return [], {}
        state = torch.load(self.state_path, weights_only=True)
        self.weights.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        return state["history"], state["best"]


def _shortened(example: NWay, ways: int | None) -> NWay:
    """The source document and the `ways - 1` others that the teacher rates highest."""
    if ways is None or len(example.doc_ids) <= ways:
        return example
    others = sorted(range(1, len(example.doc_ids)), key=lambda at: (-example.scores[at], example.doc_ids[at]))
    kept = [0, *others[: ways - 1]]
    return NWay(
        example.query_id, tuple(example.doc_ids[at] for at in kept), tuple(example.scores[at] for at in kept)
    )
