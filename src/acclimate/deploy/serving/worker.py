"""The worker thread, which owns the models and indexes and answers questions in batches.

Questions that arrive while it works form its next batch. It never waits for a batch to fill, so a single client has no
delay, and many share the cost of a batch. If a batch fails, its questions are answered one by one, so only the faulty
one fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import NamedTuple

from acclimate.deploy.searchers import Hit
from acclimate.deploy.serving.loaded import LoadedRun
from acclimate.search.names import SystemName

MAX_BATCH = 64
_MAX_RERANKED = 4  # rerankers gain nothing from larger batches, which would only add delay
_CLOSING_SECONDS = 5.0


class Question(NamedTuple):
    """A query for some systems: the best `k` documents of each that pass the filters."""

    text: str
    systems: tuple[str, ...]
    k: int
    filters: str = ""  # canonical, see `filters.canonical`

    @property
    def group(self) -> tuple[tuple[str, ...], int, str]:
        """Key of questions that can be answered together."""
        return self.systems, self.k, self.filters


class Answer(NamedTuple):
    """The hits of each system, and the run they come from."""

    hits: dict[str, list[Hit]]
    run: LoadedRun


class _Task(NamedTuple):
    question: Question
    answer: Future[Answer]


class Worker:
    """Answers questions with its current run, which may be replaced at any time."""

    def __init__(self, run: LoadedRun, *, on_batch: Callable[[int], None] = lambda size: None) -> None:
        """on_batch: called with the number of questions of each batch."""
        self.run = run  # may be replaced; a running batch finishes with the old one
        self._on_batch = on_batch
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="searches", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Questions not yet in a batch."""
        return self._tasks.qsize()

    def ask(self, question: Question) -> Future[Answer]:
        """Queue a question. Cancelling the future skips it, unless it is already being answered."""
        answer: Future[Answer] = Future()
        self._tasks.put(_Task(question, answer))
        return answer

    def close(self) -> None:
        """Answer the queued questions, within a time limit, then end the thread."""
        self._tasks.put(None)
        self._thread.join(_CLOSING_SECONDS)

    def _work(self) -> None:
        is_open = True
        while is_open:
            groups: dict[tuple[tuple[str, ...], int, str], list[_Task]] = {}
            for task in self._batch():
                if task is None:
                    is_open = False
                else:
                    groups.setdefault(task.question.group, []).append(task)
            for (systems, _, _), group in groups.items():
                most = _MAX_RERANKED if any(SystemName(name).is_reranked for name in systems) else MAX_BATCH
                for start in range(0, len(group), most):
                    self._answer_together(group[start : start + most])

    def _answer_together(self, tasks: Sequence[_Task]) -> None:
        """Answer the tasks of one group that are not cancelled."""
        if pending := [task for task in tasks if task.answer.set_running_or_notify_cancel()]:
            self._on_batch(len(pending))
            _answer(self.run, pending)

    def _batch(self) -> list[_Task | None]:
        """Wait for tasks, and take all that are queued."""
        tasks = [self._tasks.get()]
        while len(tasks) < MAX_BATCH:
            try:
                tasks.append(self._tasks.get_nowait())
            except Empty:
                break
        return tasks


def _answer(run: LoadedRun, tasks: Sequence[_Task]) -> None:
    """Answer tasks of one group."""
    systems, k, filters = tasks[0].question.group
    texts = [task.question.text for task in tasks]
    try:
        by_system = {system: run.hits(texts, k, system, filters) for system in systems}
        answers = [
            Answer({system: hits[place] for system, hits in by_system.items()}, run) for place in range(len(tasks))
        ]
    except Exception as error:
        if len(tasks) == 1:
            tasks[0].answer.set_exception(error)
        else:
            for task in tasks:
                _answer(run, [task])
        return
    for task, answer in zip(tasks, answers, strict=True):
        task.answer.set_result(answer)
