"""A pool of Ray actors, each holding a model, that do the units of work of a run.

Plain actors rather than Ray Data: a run makes many small calls whose results decide the next ones (a budget, what a
filter keeps, what is cached), and each Ray Data job would start new actors and load the model again. Here actors stay
alive, and a call costs a millisecond. Only this process stores results, in order; if a worker dies, its units are done
again by others, and nothing is stored twice.
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base import distributed, models
from acclimate.base.errors import AcclimateError
from acclimate.base.version import __version__

_UNITS_PER_WORKER = 2  # submitted at once: the current one and the next
_UNITS_AHEAD = 4  # per worker: units read, running or done beyond the next result
_MAX_LOSSES = 5  # workers that died with the same unit, after which the unit is to blame
_WARN_SECONDS, _TIMEOUT_SECONDS = 15.0, 900.0  # waiting for the first worker; clusters may have to start machines


class Environment(NamedTuple):
    """What must agree between two processes for their numbers to be the same."""

    acclimate: str
    python: str
    device: str
    precision: str

    @classmethod
    def current(cls) -> Environment:
        python = ".".join(platform.python_version_tuple()[:2])  # pickled functions depend on it
        return cls(__version__, python, models.device(), models.dtype_name())

    def __str__(self) -> str:
        return f"acclimate {self.acclimate}, Python {self.python}, {self.precision} on {self.device}"


class _Actor:
    """The Ray actor: runs in the worker's process."""

    def __init__(self, folder: str, has_gpu: bool) -> None:
        with suppress(OSError):  # model names may be paths relative to it
            os.chdir(folder)
        if not has_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._helper = distributed.Helper()

    def environment(self) -> Environment:
        return Environment.current()

    def do(self, make: Callable[[], Any], work: Callable[[Any, Any], Any], unit: Any) -> tuple[Any, str | None]:
        return self._helper.do(make, work, unit)


@dataclass(eq=False)
class _Worker:
    actor: Any
    environment: Any  # reference to the result of its first call
    is_ready: bool = False


@dataclass(eq=False)
class _Unit:
    place: int
    unit: Any
    losses: int = 0
    worker: _Worker | None = field(default=None)


class RayWorkers:
    """A pool of workers on a cluster; implements `distributed.Workers`."""

    def __init__(self, ray: Any, n_workers: int, resources: dict[str, float]) -> None:
        """ray: the module, connected to a cluster. resources: of each worker, as arguments of `ray.remote`."""
        self._ray = ray
        self._lost_errors = (
            ray.exceptions.RayActorError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,  # its machine is gone, with the result
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.WorkerCrashedError,
        )
        actor = ray.remote(**resources)(_Actor)
        self._start_actor: Callable[[], Any] = lambda: actor.remote(str(Path.cwd()), resources["num_gpus"] > 0)
        self._needs = ", ".join(f"{value:g} {name[4:-1].upper()}" for name, value in resources.items() if value)
        self._failed_starts = 0
        self._workers = [self._start_worker() for _ in range(n_workers)]

    def check(self) -> None:
        """Wait for the first worker. Raises AcclimateError if its environment differs from ours, or if none starts."""
        while not any(worker.is_ready for worker in self._workers):
            self._wait({})

    def close(self) -> None:
        """Stop all workers."""
        for worker in self._workers:
            with suppress(Exception):
                self._ray.kill(worker.actor)

    def results(self, make: Callable[[], Any], work: Callable[[Any, Any], Any], units: Iterable[Any]) -> Iterator[Any]:
        """Yield `work(tool, unit)` for each unit in order; each worker creates its tool by `make()`."""
        unread, waiting = map(_Unit, count(), units), deque[_Unit]()
        running: dict[Any, _Unit] = {}  # by reference to the result
        done: dict[int, Any] = {}  # results by place
        for place in count():
            while place not in done:
                room = _UNITS_AHEAD * len(self._workers) - len(waiting) - len(running) - len(done)
                waiting.extend(islice(unread, max(0, room)))
                if not waiting and not running:
                    return
                while waiting and (worker := self._free_worker(running)):
                    unit = waiting.popleft()
                    unit.worker = worker
                    running[worker.actor.do.remote(make, work, unit.unit)] = unit
                for reference in self._wait(running):
                    unit = running.pop(reference)
                    try:
                        done[unit.place] = self._result(reference)
                    except self._lost_errors as error:
                        self._replace_worker(unit, error)
                        waiting = deque(sorted([unit, *waiting], key=lambda unit: unit.place))
            yield done.pop(place)

    def _start_worker(self) -> _Worker:
        actor = self._start_actor()
        return _Worker(actor, actor.environment.remote())

    def _free_worker(self, running: dict[Any, _Unit]) -> _Worker | None:
        """The ready worker with the fewest units; None if all are full."""
        n_units = Counter(unit.worker for unit in running.values())
        free = [worker for worker in self._workers if worker.is_ready and n_units[worker] < _UNITS_PER_WORKER]
        return min(free, key=n_units.__getitem__, default=None)

    def _result(self, reference: Any) -> Any:
        result, problem = self._get(reference)
        if problem is not None:
            raise AcclimateError(
                f"a worker of the cluster: {problem}; workers need the same models, files and packages as this process"
            )
        return result

    def _get(self, reference: Any) -> Any:
        """Fetch a result. Raises one of `_lost_errors` if the worker died, AcclimateError for other errors of Ray."""
        try:
            return self._ray.get(reference)
        except self._lost_errors:
            raise
        except self._ray.exceptions.RayError as error:
            raise AcclimateError(
                f"Ray: {_last_line(error)}; completed work is kept; run the same command again to resume"
            ) from None

    def _replace_worker(self, unit: _Unit, error: Exception) -> None:
        """Replace the unit's dead worker, unless that is already done. Raises AcclimateError if the unit has now ended
        too many workers."""
        unit.losses += 1
        if unit.losses == _MAX_LOSSES:
            raise AcclimateError(
                f"{_MAX_LOSSES} workers of the cluster ended at the same work, the last one so: {_last_line(error)}"
                "; completed work is kept; run the same command again to resume"
            )
        if unit.worker in self._workers:
            distributed.warn("", "a worker of the cluster was lost; others repeat its work")
            with suppress(Exception):
                self._ray.kill(unit.worker.actor)  # in case only the connection was lost
            self._workers[self._workers.index(unit.worker)] = self._start_worker()

    def _wait(self, running: dict[Any, _Unit]) -> list[Any]:
        """Wait for a result or a starting worker; return references to the results available.

        Raises AcclimateError if a new worker's environment differs from ours, or if no worker starts in time.
        """
        started, has_warned = time.monotonic(), False
        while True:
            starting = {worker.environment: worker for worker in self._workers if not worker.is_ready}
            references = [*running, *starting]
            available, _ = self._ray.wait(references, num_returns=1, timeout=_WARN_SECONDS)
            for reference in available:
                if reference in starting:
                    self._accept_worker(starting[reference])
            if available:
                return [reference for reference in available if reference in running]
            if running or any(worker.is_ready for worker in self._workers):
                continue  # units have no time limit
            if time.monotonic() - started > _TIMEOUT_SECONDS:
                raise AcclimateError(
                    f"the cluster has started no worker for {_TIMEOUT_SECONDS / 60:.0f} minutes; each takes "
                    f"{self._needs}; completed work is kept; run the same command again to resume"
                )
            if not has_warned:
                distributed.warn("", f"the cluster has no room yet for a worker, which takes {self._needs}; waiting")
                has_warned = True

    def _accept_worker(self, worker: _Worker) -> None:
        """Mark a started worker as ready if its environment is ours; replace one that failed to start."""
        try:
            environment = self._get(worker.environment)
        except self._lost_errors as error:
            self._failed_starts += 1
            if self._failed_starts == _MAX_LOSSES:
                raise AcclimateError(
                    f"workers of the cluster end as they start; expected acclimate {__version__} on every machine of "
                    f"it: {_last_line(error)}"
                ) from None
            self._workers[self._workers.index(worker)] = self._start_worker()
            return
        current = Environment.current()
        if environment != current:
            raise AcclimateError(
                f"a worker of the cluster has {Environment(*environment)}, and this process {current}; expected the "
                "same: use the same kind of machine and install the same versions"
            )
        worker.is_ready, self._failed_starts = True, 0


def _last_line(error: Exception) -> str:
    """The last line of an error of Ray: its message, after the traceback."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
