"""One student's training: a plain loop that can be interrupted between epochs, and shared by several processes.

Each query once an epoch, in an order that follows from seed and epoch, AdamW, a linear warm-up and decay. The weights
kept are those with the lowest loss on held-out queries, the untouched ones included. State is saved after every epoch,
so a killed run loses one epoch at most and ends with the same bytes. Of several processes each takes its share of every
batch, and gradients are added up.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import torch

from acclimate.base import distributed, models
from acclimate.base.errors import SettingError
from acclimate.base.files import atomic_write
from acclimate.base.memory import OutOfMemory, is_out_of_memory
from acclimate.learn.students.lesson import Student
from acclimate.learn.students.losses import DistillationLoss
from acclimate.records import NWay
from acclimate.search.encoder import Encoder
from acclimate.search.names import KINDS_WITHOUT_BASE

T = TypeVar("T")
_MAX_NORM = 1.0


class StudentTraining:
    """One student's training, which can be interrupted between epochs."""

    def __init__(
        self,
        student: Student,
        train: list[NWay],
        dev: list[NWay],
        loss: DistillationLoss,
        state_path: Path,
        *,
        epochs: int,
        learning_rate: float,
        batch_size: int,
        seed: int,
    ) -> None:
        self.student, self.train, self.dev, self.loss, self.state_path = student, train, dev, loss, state_path
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed
        self.weights = student.encoder.model
        # Dropout would make the student unlike the teacher's view of it, and a resumed run unlike an undisturbed one.
        self.weights.eval()
        self.optimizer = torch.optim.AdamW(self.weights.parameters(), lr=learning_rate, weight_decay=0.01)
        self.learning_rate = learning_rate
        self.steps = steps = epochs * -(-len(train) // batch_size)
        warm_up = max(1, steps // 10)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up))
        )
        self.priors = self._priors() if student.sees_corpus else {}

    def run(self, progress: Callable[[int], None]) -> list[float]:
        """Losses on the held-out queries: before training, then after each epoch. Leaves the best weights in place."""
        history, best = distributed.main_first(self._resume)
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
            if distributed.is_main():
                self._save(history, best)
        self.weights.load_state_dict(best)
        return history

    def _step(self, batch: list[NWay]) -> None:
        # Tables by token gain nothing from half precision, and thresholds suffer.
        is_mixed = models.fast_bf16() and not self.student.keeps_index and self.student.kind not in KINDS_WITHOUT_BASE
        share = distributed.share(batch)

        def compute() -> None:
            self.optimizer.zero_grad()
            with torch.autocast(models.device(), torch.bfloat16) if is_mixed else nullcontext():
                loss = (self._loss(share) + self.student.penalty()) * (len(share) / len(batch))
            self._check(loss.item())
            loss.backward()

        if share:
            self._fit_in_memory(compute)
        else:
            self.optimizer.zero_grad()
        distributed.sum_gradients(self.weights.parameters())
        torch.nn.utils.clip_grad_norm_(self.weights.parameters(), _MAX_NORM)
        self.optimizer.step()
        self.schedule.step()

    @torch.no_grad()
    def _priors(self) -> dict[str, float]:
        """Per query: the probability that the untouched student gives to all documents of its example together."""
        priors: dict[str, float] = {}
        for start in range(0, len(self.train) + len(self.dev), self.batch_size):
            batch = [*self.train, *self.dev][start : start + self.batch_size]
            log_probs = self._fit_in_memory(lambda batch=batch: self.student.log_probs(batch))
            for example, logs in zip(batch, log_probs, strict=True):
                priors[example.query_id] = min(1.0, logs.float().exp().sum().item())
        return priors

    def _loss(self, batch: list[NWay]) -> torch.Tensor:
        """Mean loss of a batch."""
        losses: list[torch.Tensor] = []
        for example, logs in zip(batch, self.student.log_probs(batch), strict=True):
            scores = torch.tensor(example.scores, device=logs.device)
            prior = self.priors.get(example.query_id)
            losses.append(self.loss(logs.float(), scores, prior, has_positive=example.has_positive))
        return torch.stack(losses).mean()

    @torch.no_grad()
    def dev_loss(self) -> float:
        """The loss on the held-out queries."""
        total = 0.0
        for start in range(0, len(self.dev), self.batch_size):
            batch = self.dev[start : start + self.batch_size]
            total += self._fit_in_memory(lambda batch=batch: self._loss(batch).item()) * len(batch)
        self._check(total)
        return round(total / len(self.dev), 6)

    def _fit_in_memory(self, work: Callable[[], T]) -> T:
        """The result of `work`, which encodes less at once where memory has no room for it."""
        encoder = self.student.encoder
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the handler: while an exception is being handled, its traceback holds on to the batch's memory.
            self.optimizer.zero_grad()
            models.free_memory()
            if not isinstance(encoder, Encoder) or encoder.tokens_at_once < encoder.max_tokens:
                raise OutOfMemory(
                    f"no room in memory for {self.batch_size} queries of the {self.student.kind} student and their "
                    "documents; lower distill.batch_size, or index.max_tokens"
                )
            encoder.tokens_at_once //= 2

    def _check(self, loss: float) -> None:
        """Raises SettingError for a loss that is no number."""
        if not math.isfinite(loss):
            rate = "table_learning_rate" if self.student.kind in KINDS_WITHOUT_BASE else "learning_rate"
            raise SettingError(
                f"the {self.student.kind} student diverged: its loss is {loss} after {self.schedule.last_epoch} of "
                f"{self.steps} steps; lower distill.{rate}, which is {self.learning_rate:g}"
            )

    def _save(self, history: list[float], best: Mapping[str, torch.Tensor]) -> None:
        state = {
            "history": history,
            "best": best,
            "weights": self.weights.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
        }
        with atomic_write(self.state_path) as beside:
            torch.save(state, beside)

    def _resume(self) -> tuple[list[float], dict[str, torch.Tensor]]:
        if not self.state_path.exists():
            return [], {}
        state = torch.load(self.state_path, map_location="cpu", weights_only=True)
        self.weights.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        return state["history"], state["best"]
