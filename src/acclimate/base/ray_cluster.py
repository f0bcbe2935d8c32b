"""Ray clusters (`--executor ray[://ADDRESS]`): the address is checked at the start, the cluster joined on first use.

`ray` uses Ray's own choice: the cluster of RAY_ADDRESS, one already running on this machine, or else a new local one.
`ray://HOST:PORT` connects to another cluster through Ray's client. Options for the workers may follow:
`ray://head:10001,workers=8,gpus=0.5`.
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
from acclimate.base.text import counted, quoted, reason_of

_FORM = re.compile(r"ray(?P<address>://[^\s,/]+:\d+)?(?P<options>(,\w+=[^\s,=]+)*)")
_OPTIONS = {"workers": int, "cpus": float, "gpus": float}
_EXPECTED = "ray or ray://HOST:PORT, optionally followed by ,workers=N ,cpus=N ,gpus=N"
_CONNECT_TIMEOUT_SECONDS = 10


class Executor(NamedTuple):
    """The parsed value of `--executor`."""

    address: str | None  # for ray.init; None: Ray's own choice
    workers: int | None = None  # their number; None: as many as fit the cluster
    cpus: float = 1.0  # per worker
    gpus: float | None = None  # per worker; None: 1 if this process uses a GPU, else 0

    @classmethod
    def parse(cls, text: str) -> Executor:
        """Parse the option. Raises SettingError if it is invalid."""
        if match := _FORM.fullmatch(str(text)):
            options = (option.split("=") for option in match["options"].split(",")[1:])
            with suppress(KeyError, ValueError):
                values: dict[str, Any] = {name: _OPTIONS[name](value) for name, value in options}
                executor = cls(match["address"] and f"ray{match['address']}", **values)
                if executor.is_possible:
                    return executor
        raise SettingError(f"the executor is {quoted(text)}; expected {_EXPECTED}")

    @property
    def is_possible(self) -> bool:
        """True if the numbers are in range; a worker cannot use more than one GPU."""
        workers = 1 if self.workers is None else self.workers
        return 0 < workers <= 100_000 and 0 < self.cpus <= 10_000 and 0 <= (self.gpus or 0) <= 1

    @property
    def worker_resources(self) -> dict[str, float]:
        """The resources of each worker, as arguments of `ray.remote`."""
        gpus = float(models.device() == "cuda") if self.gpus is None else self.gpus
        return {"num_cpus": self.cpus, "num_gpus": gpus}


@contextmanager
def workers(executor: str | None) -> Iterator[None]:
    """Run the work of `distributed.shared` on the workers of a Ray cluster; None: in this process.

    The cluster is joined when there is work. Raises SettingError for an invalid executor, MissingExtra if Ray is not
    installed, and AcclimateError if the cluster does not answer; inside the block, AcclimateError if its workers differ
    from this process in versions, device or precision.
    """
    if executor is None:
        yield
        return
    options = Executor.parse(executor)
    if distributed.size() > 1:
        raise SettingError("--executor and torchrun are alternatives; use one of them")
    ray = _imported()
    if not ray.is_initialized() and (address := options.address or os.environ.get("RAY_ADDRESS")):
        _check_reachable(address)
    with ExitStack() as exit_stack, distributed.using_workers(_LazyWorkers(ray, options, exit_stack)):
        yield


class _LazyWorkers:
    """Workers of a cluster that is joined on first use; implements `distributed.Workers`."""

    def __init__(self, ray: Any, options: Executor, exit_stack: ExitStack) -> None:
        self._ray, self._options, self._exit_stack = ray, options, exit_stack

    @cached_property
    def _pool(self) -> RayWorkers:
        return self._exit_stack.enter_context(_pool(self._ray, self._options))

    def results(self, make: Callable[[], Any], work: Callable[[Any, Any], Any], units: Iterable[Any]) -> Iterator[Any]:
        return self._pool.results(make, work, units)


@contextmanager
def _pool(ray: Any, options: Executor) -> Iterator[RayWorkers]:
    with _connected(ray, options):
        resources = options.worker_resources
        count = options.workers or _capacity(ray.cluster_resources(), resources)
        distributed.say("", f"Ray: {counted(count, 'worker')}, each with {_described(resources)}")
        pool = RayWorkers(ray, count, resources)
        try:
            pool.check()
            yield pool
        finally:
            pool.close()


def _imported() -> Any:
    """The module `ray`. Raises MissingExtra if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # avoids a warning at each start
    try:
        import ray
    except ImportError:
        raise MissingExtra("Ray", "pip install 'acclimate[ray]'") from None
    return ray


@contextmanager
def _connected(ray: Any, executor: Executor) -> Iterator[None]:
    """Connect Ray to the cluster for the block. A connection that the program has already made is used and kept."""
    if ray.is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(action="ignore"):  # errors repeat what they say
            ray.init(executor.address, log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=False)
    except ImportError:
        raise MissingExtra("Ray's client", "pip install 'acclimate[ray]'") from None
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        address = executor.address or os.environ.get("RAY_ADDRESS")
        where = f"at {address}" if address else "of this machine"
        hint = "; ray://HOST:PORT has the port of Ray's client, mostly 10001" if executor.address else ""
        raise AcclimateError(f"no Ray cluster {where} that could be joined: {reason_of(error)}{hint}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's handler would end this process silently
    _silence_worker_logs()
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise AcclimateError at once if nothing listens there; Ray would keep trying for a minute."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):  # "auto" or "local", special values of Ray
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise AcclimateError(
            f"no Ray cluster answers at {address} ({error}); expected the address of one: ray://HOST:10001 from "
            "anywhere, and on a machine of the cluster plain ray"
        ) from None


def _silence_worker_logs() -> None:
    """Stop Ray from printing lost workers to stdout, where only results belong; we log them ourselves."""
    with suppress(AttributeError):
        sys.modules["ray._private.worker"]._worker_logs_enabled = False  # type: ignore[attr-defined]


def _capacity(total: dict[str, float], per_worker: dict[str, float]) -> int:
    """How many workers fit the cluster; at least 1, as it may still grow."""
    limits = [total.get("CPU", 0) / per_worker["num_cpus"]]
    limits += [total.get("GPU", 0) / per_worker["num_gpus"]] if per_worker["num_gpus"] else []
    return max(1, int(min(limits)))


def _described(resources: dict[str, float]) -> str:
    cpus, gpus = resources["num_cpus"], resources["num_gpus"]
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
