"""The training loop of a student: plain, resumable, and shareable by several processes.

By epochs or steps, each list is read once before any is read again, in an order that depends on the seed and the pass.
AdamW, with linear warm-up and decay, or a constant rate. The weights with the lowest held-out loss are kept, the
initial ones included; with a single evaluation, the last. State is saved at each evaluation and every thousand steps,
so an interrupted run gives the same bytes. Several processes share each batch and sum gradients. A thread reads batches
ahead; a GPU is waited for only where losses are checked.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import torch

from acclimate.base import distributed, models, pickled
from acclimate.base.cores import check_cancelled
from acclimate.base.errors import OutOfMemory, SettingError, is_out_of_memory
from acclimate.base.files import atomic_write
from acclimate.base.gpu import free_memory, fused_optimizer, prefetch_thread
from acclimate.base.prefetch import prefetch
from acclimate.base.text import counted
from acclimate.learn.data_parallel import data_parallel
from acclimate.learn.schedules import rates
from acclimate.learn.students.batches import ReadBatch, mean_loss, read_batch
from acclimate.learn.students.choices import CORPUS
from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.similarities import shape_groups
from acclimate.learn.students.student import Student
from acclimate.records import NWay
from acclimate.search.encoder import Encoder
from acclimate.search.names import KINDS_WITHOUT_BASE

T = TypeVar("T")
_MAX_NORM = 1.0
_LOOKS = 10  # evaluations, if training is by steps
_MOST_LOST = 1000  # steps that an interrupted run may lose
_UNCHECKED = 50  # losses collected before they are checked
Cut = Callable[[NWay, int], NWay]  # (list, number of earlier passes) -> the part of it to read now


def steps_of(n_lists: int, epochs: int, max_steps: int, batch_size: int) -> int:
    """Number of optimizer steps."""
    return max_steps or epochs * -(-n_lists // batch_size)


def kept_of(history: Sequence[float], evaluations: int) -> int:
    """Index of the evaluation whose weights are kept: the first of the lowest held-out losses, or the last one."""
    return len(history) - 1 if evaluations == 1 else min(range(len(history)), key=history.__getitem__)


class StudentTraining:
    """One student's training, which can be interrupted and resumed.

    max_steps: number of full batches; 0: by epochs. evaluations: number of evaluations of the held-out loss; 0: after
    every epoch, or tenth of the steps.
    """

    def __init__(
        self,
        student: Student,
        train: Sequence[NWay],
        dev: Sequence[NWay],
        loss: DistillationLoss,
        state_path: Path,
        *,
        epochs: int,
        learning_rate: float,
        batch_size: int,
        seed: int,
        schedule: str,
        max_steps: int = 0,
        evaluations: int = 0,
        cut: Cut = lambda example, _: example,
    ) -> None:
        self.student, self.loss, self.state_path = student, loss, state_path
        self.train = sorted(train, key=lambda example: (example.query_id, example.doc_ids))
        self.dev = [cut(example, 0) for example in dev]
        self.batch_size, self.max_steps, self.seed, self.cut = batch_size, max_steps, seed, cut
        self.weights = student.encoder.model
        # Token tables gain nothing from half precision, and thresholds suffer.
        is_mixed = models.fast_bf16() and student.kind not in KINDS_WITHOUT_BASE
        self.precision = partial(torch.autocast, models.device(), torch.bfloat16) if is_mixed else nullcontext
        # Without dropout, similarities match those at search time, and a resumed run an uninterrupted one.
        self.weights.eval()
        self.optimizer = torch.optim.AdamW(
            self.weights.parameters(), lr=learning_rate, weight_decay=0.01, fused=fused_optimizer()
        )
        self.prefetch_thread = prefetch_thread()  # a single thread, as tokenizers are not thread-safe
        self.unchecked: list[torch.Tensor] = []  # losses of the last steps
        self.learning_rate = learning_rate
        self.steps_per_epoch = -(-len(train) // batch_size)
        self.steps = steps = steps_of(len(train), epochs, max_steps, batch_size)
        looks = evaluations or (min(_LOOKS, steps) if max_steps else epochs)
        self.evaluated_after = {-(-steps * number // looks) for number in range(1, looks + 1)}
        self.saved_after = self.evaluated_after | set(range(_MOST_LOST, steps, _MOST_LOST))
        self.evaluations = evaluations
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rates(schedule, steps))
        self._order = lru_cache(maxsize=2)(self._shuffled)
        self.priors: dict[tuple[str, tuple[str, ...]], float] = {}
        if student.negatives == CORPUS:
            self.priors = self._priors()

    def run(self, progress: Callable[[int], None]) -> list[float]:
        """Train; returns held-out losses, before training and at each evaluation. Leaves the best weights in place."""
        with self._on_cores():
            return self._train(progress)

    def _on_cores(self) -> AbstractContextManager[None]:
        encoder = self.student.encoder
        if not isinstance(encoder, Encoder):
            return nullcontext()
        return data_parallel(encoder.transformer, is_padded=not encoder.is_late_interaction)

    def _train(self, progress: Callable[[int], None]) -> list[float]:
        history, best = distributed.main_first(self._resume)
        if not history:
            history, best = [self.dev_loss()], copy.deepcopy(self.weights.state_dict())
        steps = range(self.schedule.last_epoch, self.steps)
        for step, (share, weight) in zip(steps, prefetch(self.prefetch_thread, self._share, steps), strict=True):
            check_cancelled()
            self._step(share, weight)
            progress(step + 1)
            if step + 1 in self.saved_after or len(self.unchecked) == _UNCHECKED:
                self._check_steps()
            if step + 1 in self.evaluated_after:
                history.append(self.dev_loss())
                if kept_of(history, self.evaluations) == len(history) - 1:
                    best = copy.deepcopy(self.weights.state_dict())
            if step + 1 in self.saved_after and distributed.is_main():
                self._save(history, best)
        self.weights.load_state_dict(best)
        return history

    def _share(self, step: int) -> tuple[ReadBatch | None, float]:
        """(this process's share of a step's batch, if any; its weight in the whole batch)."""
        batch = self._batch(step)
        share = distributed.share(batch)
        return self._read(share) if share else None, len(share) / len(batch)

    def _read(self, batch: Sequence[NWay]) -> ReadBatch:
        return read_batch(self.student, batch, self.priors)

    def _batch(self, step: int) -> list[NWay]:
        """The lists of a step. By epochs the last batch may be short; by steps all are full."""
        size, n_lists = self.batch_size, len(self.train)
        first = step * size
        if not self.max_steps:
            epoch, number = divmod(step, self.steps_per_epoch)
            first = epoch * n_lists + number * size
            size = min(size, n_lists - number * size)
        turns = (divmod(place, n_lists) for place in range(first, first + size))
        return [self.cut(self._order(times)[place], times) for times, place in turns]

    def _shuffled(self, times: int) -> list[NWay]:
        order = list(self.train)
        random.Random(f"{self.seed}:{times}").shuffle(order)
        return order

    def _step(self, share: ReadBatch | None, weight: float) -> None:
        def compute(share: ReadBatch) -> torch.Tensor:
            self.optimizer.zero_grad()
            with self.precision():
                loss = (mean_loss(self.student, self.loss, share) + self.student.penalty()) * weight
            loss.backward()
            return loss.detach()

        if share is not None:
            self.unchecked.append(self._fit_in_memory(lambda: compute(share)))
        else:
            self.optimizer.zero_grad()
        distributed.sum_gradients(self.weights.parameters())
        torch.nn.utils.clip_grad_norm_(self.weights.parameters(), _MAX_NORM)
        self.optimizer.step()
        self.schedule.step()

    def _in_batches(self, lists: Sequence[NWay]) -> Iterator[tuple[Sequence[NWay], ReadBatch]]:
        """All of these lists, in batches."""
        batches = [lists[start : start + self.batch_size] for start in range(0, len(lists), self.batch_size)]
        return zip(batches, prefetch(self.prefetch_thread, self._read, batches), strict=True)

    @torch.no_grad()
    def _priors(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """List -> total probability that the student gives to its documents before this training."""
        lists: list[NWay] = []
        probabilities: list[torch.Tensor] = []
        for batch, read in self._in_batches([*self.train, *self.dev]):
            with self.precision():
                similarities = self._fit_in_memory(lambda read=read: self.student.similarities(read.lists))
            for numbers, of_form in zip(shape_groups(batch), similarities, strict=True):
                lists += [batch[number] for number in numbers]
                probabilities.append(of_form.log_probs(self.loss.student_temperature).exp().sum(dim=-1))
        return {
            (example.query_id, example.doc_ids): min(1.0, probability)
            for example, probability in zip(lists, torch.cat(probabilities).tolist(), strict=True)
        }

    @torch.no_grad()
    def dev_loss(self) -> float:
        """Loss on the held-out queries."""
        losses: list[torch.Tensor] = []
        sizes: list[int] = []
        for batch, read in self._in_batches(self.dev):
            with self.precision():
                losses.append(self._fit_in_memory(lambda read=read: mean_loss(self.student, self.loss, read)))
            sizes.append(len(batch))
        total = sum(loss * size for loss, size in zip(torch.stack(losses).tolist(), sizes, strict=True))
        self._check(total, self.schedule.last_epoch)
        return round(total / len(self.dev), 6)

    def _fit_in_memory(self, work: Callable[[], T]) -> T:
        """The result of `work`, retried with smaller encoding groups if memory runs out."""
        encoder = self.student.encoder
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the handler: the exception's traceback holds the batch's memory.
            self.optimizer.zero_grad()
            free_memory()
            if not isinstance(encoder, Encoder) or encoder.tokens_at_once < encoder.max_tokens:
                raise OutOfMemory(
                    f"not enough memory for {counted(self.batch_size, 'query')} of the {self.student.kind} student "
                    "and their documents; lower distill.batch_size, or index.max_tokens"
                )
            encoder.tokens_at_once //= 2

    def _check_steps(self) -> None:
        """Raises SettingError if a loss of the last steps is not finite."""
        losses = torch.stack(self.unchecked).tolist() if self.unchecked else []
        self.unchecked.clear()
        for step, loss in enumerate(losses, self.schedule.last_epoch - len(losses)):
            self._check(loss, step)

    def _check(self, loss: float, step: int) -> None:
        """Raises SettingError for a loss that is not finite."""
        if not math.isfinite(loss):
            rate = "table_learning_rate" if self.student.kind in KINDS_WITHOUT_BASE else "learning_rate"
            raise SettingError(
                f"the {self.student.kind} student diverged: its loss is {loss} after {step} of "
                f"{counted(self.steps, 'step')}; lower distill.{rate}, which is {self.learning_rate:g}"
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
        try:
            state = pickled.load(self.state_path)
        except (FileNotFoundError, ValueError):  # none, or a truncated one, as by a power failure
            return [], {}
        if _shapes(state["weights"]) != _shapes(self.weights.state_dict()):  # of an earlier version
            return [], {}
        self.weights.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        return state["history"], state["best"]


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}
