"""Ray's workers: each is an actor that holds a model, and does units of work that a run shares out.

Plain actors and no jobs of Ray Data: a run shares in many small calls, whose results decide on the next (a budget,
what a filter leaves, what is kept already), and each job of Ray Data starts its actors, and so loads its model, anew.
The actors stay, and a call of theirs takes a millisecond. This process alone keeps results, in the order of the units;
so a worker that is lost costs the units that it had, which others do again, and nothing is kept twice.
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

_UNITS_OF_A_WORKER = 2  # the one at hand, and the next
_UNITS_AHEAD = 4  # for each worker, that are begun or done while an earlier one is not
_LOSSES = 5  # workers that end with the same unit, after which it is at fault
_SAID_SECONDS, _PATIENCE_SECONDS = 15.0, 900.0  # of waiting for a first worker: clusters may start machines for it


class Terms(NamedTuple):
    """What makes the numbers of two processes the same."""

    acclimate: str
    python: str
    device: str
    precision: str

    @classmethod
    def here(cls) -> Terms:
        python = ".".join(platform.python_version_tuple()[:2])  # what pickles depend on
        return cls(__version__, python, models.device(), models.dtype_name())

    def __str__(self) -> str:
        return f"acclimate {self.acclimate}, Python {self.python}, {self.precision} on {self.device}"


class _Actor:
    """What runs in a worker's process."""

    def __init__(self, folder: str, has_gpu: bool) -> None:
        with suppress(OSError):  # names of models may be paths from there
            os.chdir(folder)
        if not has_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._helper = distributed.Helper()

    def terms(self) -> Terms:
        return Terms.here()

    def do(self, make: Callable[[], Any], work: Callable[[Any, Any], Any], unit: Any) -> tuple[Any, str | None]:
        return self._helper.do(make, work, unit)


@dataclass(eq=False)
class _Worker:
    actor: Any
    terms: Any  # the reference to its answer to the first question
    is_ready: bool = False


@dataclass(eq=False)
class _Unit:
    place: int
    unit: Any
    losses: int = 0
    worker: _Worker | None = field(default=None)


class RayWorkers:
    """Workers of a cluster; implements `distributed.Workers`."""

    def __init__(self, ray: Any, n_workers: int, resources: dict[str, float]) -> None:
        """ray: the module, which has joined a cluster. resources: of each worker, as Ray has them."""
        self._ray = ray
        self._lost = (
            ray.exceptions.RayActorError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,  # of a machine that ended with what it had done
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.WorkerCrashedError,
        )
        actor = ray.remote(**resources)(_Actor)
        self._start: Callable[[], Any] = lambda: actor.remote(str(Path.cwd()), resources["num_gpus"] > 0)
        self._needs = ", ".join(f"{value:g} {name[4:-1].upper()}" for name, value in resources.items() if value)
        self._failed_starts = 0
        self._workers = [self._started() for _ in range(n_workers)]

    def check(self) -> None:
        """Wait for the first worker. Raises AcclimateError where it is another than this process, or none starts."""
        while not any(worker.is_ready for worker in self._workers):
            self._wait({})

    def close(self) -> None:
        """Let the workers go."""
        for worker in self._workers:
            with suppress(Exception):
                self._ray.kill(worker.actor)

    def results(self, make: Callable[[], Any], work: Callable[[Any, Any], Any], units: Iterable[Any]) -> Iterator[Any]:
        """`work(tool, unit)` of each unit in order, by tools that `make` makes."""
        fresh, waiting = map(_Unit, count(), units), deque[_Unit]()
        running: dict[Any, _Unit] = {}  # by the reference to its result
        done: dict[int, Any] = {}
        for place in count():
            while place not in done:
                room = _UNITS_AHEAD * len(self._workers) - len(waiting) - len(running) - len(done)
                waiting.extend(islice(fresh, max(0, room)))
                if not waiting and not running:
                    return
                while waiting and (worker := self._free(running)):
                    unit = waiting.popleft()
                    unit.worker = worker
                    running[worker.actor.do.remote(make, work, unit.unit)] = unit
                for reference in self._wait(running):
                    unit = running.pop(reference)
                    try:
                        done[unit.place] = self._result(reference)
                    except self._lost as error:
                        self._replace(unit, error)
                        waiting = deque(sorted([unit, *waiting], key=lambda unit: unit.place))
            yield done.pop(place)

    def _started(self) -> _Worker:
        actor = self._start()
        return _Worker(actor, actor.terms.remote())

    def _free(self, running: dict[Any, _Unit]) -> _Worker | None:
        """The worker with the fewest units, if it takes another one."""
        has = Counter(unit.worker for unit in running.values())
        ready = [worker for worker in self._workers if worker.is_ready and has[worker] < _UNITS_OF_A_WORKER]
        return min(ready, key=has.__getitem__, default=None)

    def _result(self, reference: Any) -> Any:
        result, problem = self._get(reference)
        if problem is not None:
            raise AcclimateError(
                f"a worker of the cluster: {problem}; workers need the models, files and packages that this process has"
            )
        return result

    def _get(self, reference: Any) -> Any:
        """Raises what `_lost` has for a worker that is gone, AcclimateError for anything else."""
        try:
            return self._ray.get(reference)
        except self._lost:
            raise
        except self._ray.exceptions.RayError as error:
            raise AcclimateError(f"Ray: {_last(error)}; what is made is kept, and the same command goes on") from None

    def _replace(self, unit: _Unit, error: Exception) -> None:
        """Start a worker in the place of one that is gone, unless that is done. Raises AcclimateError for a unit that
        no worker survives."""
        unit.losses += 1
        if unit.losses == _LOSSES:
            raise AcclimateError(
                f"{_LOSSES} workers of the cluster ended at the same work, the last one so: {_last(error)}"
                "; what is made is kept, and the same command goes on"
            )
        if unit.worker in self._workers:
            distributed.warn("", "a worker of the cluster is gone; others do again what it had")
            with suppress(Exception):
                self._ray.kill(unit.worker.actor)  # if only its connection is
            self._workers[self._workers.index(unit.worker)] = self._started()

    def _wait(self, running: dict[Any, _Unit]) -> list[Any]:
        """References to results that are there; workers that have started are ready for work.

        Raises AcclimateError for one that is another than this process, and where none has started for long.
        """
        begun, is_said = time.monotonic(), False
        while True:
            starting = {worker.terms: worker for worker in self._workers if not worker.is_ready}
            references = [*running, *starting]
            there, _ = self._ray.wait(references, num_returns=1, timeout=_SAID_SECONDS)
            for reference in there:
                if reference in starting:
                    self._welcome(starting[reference])
            if there:
                return [reference for reference in there if reference in running]
            if running or any(worker.is_ready for worker in self._workers):
                continue  # a unit may take as long as it likes
            if time.monotonic() - begun > _PATIENCE_SECONDS:
                raise AcclimateError(
                    f"the cluster has started no worker for {_PATIENCE_SECONDS / 60:.0f} minutes; each takes "
                    f"{self._needs}; what is made is kept, and the same command goes on"
                )
            if not is_said:
                distributed.warn("", f"the cluster has no room for a worker yet, which takes {self._needs}; waiting")
                is_said = True

    def _welcome(self, worker: _Worker) -> None:
        """A worker that has started is ready, if its terms are ours; another is started for one that could not."""
        try:
            terms = self._get(worker.terms)
        except self._lost as error:
            self._failed_starts += 1
            if self._failed_starts == _LOSSES:
                raise AcclimateError(
                    f"workers of the cluster end as they start; expected acclimate {__version__} on every machine of "
                    f"it: {_last(error)}"
                ) from None
            self._workers[self._workers.index(worker)] = self._started()
            return
        if terms != Terms.here():
            raise AcclimateError(
                f"a worker of the cluster has {Terms(*terms)}, and this process {Terms.here()}; expected the same: "
                "start the command on a machine like the workers', and install what it has on them"
            )
        worker.is_ready, self._failed_starts = True, 0


def _last(error: Exception) -> str:
    """The last line of an error of Ray, which says what it was; those before it say where."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
