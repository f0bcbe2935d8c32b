"""The Ray cluster that `--executor ray[://ADDRESS]` names: found and checked before work begins, and joined
when there is work to share.

`ray` is the cluster that Ray itself would take: that of RAY_ADDRESS, one that runs on this machine, or else a new one
of this machine alone. `ray://HOST:PORT` is another one, through Ray's client. Behind either may stand what a worker
takes: `ray://head:10001,workers=8,gpus=0.5`.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from typing import Any, NamedTuple

from acclimate.base import distributed, models
from acclimate.base.errors import AcclimateError, MissingExtra, SettingError
from acclimate.base.ray_workers import RayWorkers
from acclimate.base.text import quoted, single_spaced

_FORM = re.compile(r"ray(?P<address>://[^\s,/]+:\d+)?(?P<options>(,\w+=[^\s,=]+)*)")
_OPTIONS = {"workers": int, "cpus": float, "gpus": float}
_EXPECTED = "ray or ray://HOST:PORT, and behind it, as far as wanted, ,workers=N ,cpus=N ,gpus=N"
_REACHED_SECONDS = 10  # within which a cluster's machine must answer


class Executor(NamedTuple):
    """What `--executor` says."""

    address: str | None  # as Ray has it; None: where Ray looks by itself
    workers: int | None = None  # how many; None: as many as the cluster has room for
    cpus: float = 1.0  # that each takes
    gpus: float | None = None  # the same; None: one where this process computes on one

    @classmethod
    def parse(cls, text: str) -> Executor:
        """Raises SettingError for a text that is none."""
        if form := _FORM.fullmatch(text):
            options = (option.split("=") for option in form["options"].split(",")[1:])
            with suppress(KeyError, ValueError):
                values: dict[str, Any] = {name: _OPTIONS[name](value) for name, value in options}
                executor = cls(form["address"] and f"ray{form['address']}", **values)
                if executor.is_possible:
                    return executor
        raise SettingError(f"the executor is {quoted(text)}; expected {_EXPECTED}")

    @property
    def is_possible(self) -> bool:
        """Whether workers can be so many and take so much; more than one GPU would be of no use."""
        workers = 1 if self.workers is None else self.workers
        return 0 < workers <= 100_000 and 0 < self.cpus <= 10_000 and 0 <= (self.gpus or 0) <= 1

    @property
    def of_a_worker(self) -> dict[str, float]:
        """What each worker takes, as Ray has it."""
        gpus = float(models.device() == "cuda") if self.gpus is None else self.gpus
        return {"num_cpus": self.cpus, "num_gpus": gpus}


@contextmanager
def workers(executor: str | None) -> Iterator[None]:
    """Within, the workers of a cluster do what is `distributed.shared`; None: this process alone does.

    It is joined when there is work to share. Raises SettingError for an executor that is none, MissingExtra where Ray
    is not installed, and AcclimateError for a cluster that does not answer; within, AcclimateError where its workers
    are others than this process: in versions, device or precision.
    """
    if executor is None:
        yield
        return
    wanted = Executor.parse(executor)
    if distributed.size() > 1:
        raise SettingError("an executor and torchrun are two ways to share work; expected one of them")
    ray = _imported()
    if not ray.is_initialized() and (address := wanted.address or os.environ.get("RAY_ADDRESS")):
        _reach(address)
    with ExitStack() as joined, distributed.helped_by(_JoinedLater(ray, wanted, joined)):
        yield


class _JoinedLater:
    """The workers of a cluster, which is joined when they are first asked; implements `distributed.Workers`."""

    def __init__(self, ray: Any, wanted: Executor, joined: ExitStack) -> None:
        self._ray, self._wanted, self._joined = ray, wanted, joined

    @cached_property
    def _pool(self) -> RayWorkers:
        return self._joined.enter_context(_pool(self._ray, self._wanted))

    def results(self, make: Callable[[], Any], work: Callable[[Any, Any], Any], units: Iterable[Any]) -> Iterator[Any]:
        return self._pool.results(make, work, units)


@contextmanager
def _pool(ray: Any, wanted: Executor) -> Iterator[RayWorkers]:
    with _joined(ray, wanted):
        resources = wanted.of_a_worker
        count = wanted.workers or _room(ray.cluster_resources(), resources)
        distributed.say("", f"Ray: {count:,} workers, each with {_said(resources)}")
        pool = RayWorkers(ray, count, resources)
        try:
            pool.check()
            yield pool
        finally:
            pool.close()


def _imported() -> Any:
    """Ray. Raises MissingExtra where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning at each start
    try:
        import ray
    except ImportError:
        raise MissingExtra("Ray", "pip install 'acclimate[ray]'") from None
    return ray


@contextmanager
def _joined(ray: Any, executor: Executor) -> Iterator[None]:
    """Within, Ray has a cluster. One that the program has joined already is its own to leave."""
    if ray.is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(action="ignore"):  # an error says the same
            ray.init(executor.address, log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=False)
    except ImportError:
        raise MissingExtra("Ray's client", "pip install 'acclimate[ray]'") from None
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        address = executor.address or os.environ.get("RAY_ADDRESS")
        where = f"at {address}" if address else "of this machine"
        hint = "; ray://HOST:PORT has the port of Ray's client, mostly 10001" if executor.address else ""
        raise AcclimateError(
            f"no Ray cluster {where} that could be joined: {single_spaced(str(error))}{hint}"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's would end this process without a word
    _hush()
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raises AcclimateError where nobody listens: Ray would try for a minute."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):  # "auto" or "local", which are Ray's own words
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise AcclimateError(
            f"no Ray cluster answers at {address} ({error}); expected the address of one: ray://HOST:10001 from "
            "anywhere, and on a machine of the cluster plain ray"
        ) from None


def _hush() -> None:
    """What Ray says of lost workers it prints to stdout, where only results belong; they are counted and said here."""
    with suppress(AttributeError):
        sys.modules["ray._private.worker"]._worker_logs_enabled = False  # type: ignore[attr-defined]


def _room(has: dict[str, float], takes: dict[str, float]) -> int:
    """How many workers a cluster has room for; one where it has none yet."""
    rooms = [has.get("CPU", 0) / takes["num_cpus"]]
    rooms += [has.get("GPU", 0) / takes["num_gpus"]] if takes["num_gpus"] else []
    return max(1, int(min(rooms)))


def _said(resources: dict[str, float]) -> str:
    cpus, gpus = resources["num_cpus"], resources["num_gpus"]
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
