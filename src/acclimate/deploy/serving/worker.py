"""One thread that owns what is searched with: questions that came while it was at work are its next batch.

Nobody waits for a batch to fill, so a single client loses nothing, and many share what a batch shares. A question that
fails fails alone: the others of its batch are asked again without it.
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
_MAX_RERANKED = 4  # a reranker reads every pair by itself: more of them would only wait for each other
_CLOSING_SECONDS = 5.0


class Question(NamedTuple):
    """A query that each of these systems is to answer with `k` documents, of those that pass the filters."""

    text: str
    systems: tuple[str, ...]
    k: int
    filters: str = ""  # as `filters.canonical` writes them

    @property
    def group(self) -> tuple[tuple[str, ...], int, str]:
        """What questions that are answered together have in common."""
        return self.systems, self.k, self.filters


class Answer(NamedTuple):
    """The hits of each system, and the run that they are from."""

    hits: dict[str, list[Hit]]
    run: LoadedRun


class _Task(NamedTuple):
    question: Question
    answer: Future[Answer]


class Worker:
    """Answers with the run that it has, until it is given another."""

    def __init__(self, run: LoadedRun, *, on_batch: Callable[[int], None] = lambda size: None) -> None:
        """on_batch: is told how many questions a batch has."""
        self.run = run  # replaced as a whole; a batch at work ends with the one that it began with
        self._on_batch = on_batch
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="searches", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Questions that no batch has taken yet."""
        return self._tasks.qsize()

    def ask(self, question: Question) -> Future[Answer]:
        """The answer, once there is one; cancel it and it is passed over, unless it is at work already."""
        answer: Future[Answer] = Future()
        self._tasks.put(_Task(question, answer))
        return answer

    def close(self) -> None:
        """Answer what has been asked, then end; whoever still waited for what takes longer has left."""
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
        """Answer those tasks of one group that are still wanted."""
        if wanted := [task for task in tasks if task.answer.set_running_or_notify_cancel()]:
            self._on_batch(len(wanted))
            _answer(self.run, wanted)

    def _batch(self) -> list[_Task | None]:
        """What waits, at least one."""
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
