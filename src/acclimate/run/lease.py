"""A lease on a run's folder, for folders that several machines share.

Among processes of one machine a file lock decides. Since not every shared file system propagates locks to other
machines, the process at work also updates `.lease` regularly. A process of another machine watches, by its own clock,
whether updates continue, and takes the folder over if they stop. A process that was suspended that long notices on
resuming that another has taken over, and stops.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acclimate.base import distributed
from acclimate.base.errors import AcclimateError
from acclimate.base.files import write_json

NAME = ".lease"
BEAT_SECONDS = 5.0  # between updates
PATIENCE_SECONDS = 30.0  # without an update, until a folder counts as free
_held_tokens: set[str] = set()  # of leases that this process holds, which its number does not tell in containers


class Lease:
    """The hold of one process on one folder, renewed by a background thread."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._holder = {"host": socket.gethostname(), "machine": machine(), "pid": os.getpid()}
        self._begin()

    def _begin(self) -> None:
        self._token, self._beats = secrets.token_hex(8), 0
        self._is_over = threading.Event()
        self._successor: dict[str, Any] | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Context in which this process holds the folder. Raises AcclimateError if another machine's process does."""
        self._begin()
        self._wait()
        _held_tokens.add(self._token)
        self._beat()
        thread = threading.Thread(target=self._go_on, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()
            _held_tokens.discard(self._token)
            if self._successor is None:
                self.path.unlink(missing_ok=True)

    def is_fresh(self) -> bool:
        """True if the lease was updated recently, by the file system's clock."""
        try:
            return time.time() - self.path.stat().st_mtime < PATIENCE_SECONDS
        except OSError:
            return False

    def check(self) -> None:
        """Raises AcclimateError if another process has taken over, or the folder is gone."""
        if not self.path.parent.is_dir():
            raise AcclimateError(f"{self.path.parent} no longer exists; it was moved or removed while this was running")
        if self._successor is not None:
            raise AcclimateError(
                f"{self.path.parent} was taken over by {_name(self._successor)}, because this process gave no sign "
                f"of life for {PATIENCE_SECONDS:g} seconds; completed work is kept, and the other process continues"
            )

    def _wait(self) -> None:
        """Wait until no other machine works in the folder."""
        holder, started = read(self.path), time.monotonic()
        if holder is None or holder["machine"] == self._holder["machine"]:  # the lock shows that its process is dead
            return
        distributed.say(
            "", f"waiting {PATIENCE_SECONDS:g} seconds for a sign of {_name(holder)}, which worked here last"
        )
        while time.monotonic() - started < PATIENCE_SECONDS:
            time.sleep(min(BEAT_SECONDS, PATIENCE_SECONDS) / 4)
            now = read(self.path)
            if now is None:
                return
            if now != holder:
                raise AcclimateError(
                    f"{self.path.parent} is in use by {_name(now)}; wait for it, or stop it with: kill {now['pid']}"
                )

    def _go_on(self) -> None:
        while not self._is_over.wait(BEAT_SECONDS):
            try:
                holder = read(self.path)
                if holder is not None and holder["token"] != self._token:
                    self._successor = holder
                    return
                if self.path.parent.is_dir():  # do not recreate a folder that was removed
                    self._beat()
            except (OSError, AcclimateError):  # the folder is unreachable for now; work that needs it will report that
                continue

    def _beat(self) -> None:
        self._beats += 1
        write_json(self.path, {**self._holder, "token": self._token, "beats": self._beats})


def read(path: Path) -> dict[str, Any] | None:
    """The content of a lease file; None if there is none, or it cannot be read."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return {key: holder[key] for key in ("host", "machine", "pid", "token", "beats")}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def is_own(holder: dict[str, Any]) -> bool:
    """True if this process wrote the lease."""
    return holder["token"] in _held_tokens


def machine() -> str:
    """An id of this machine since boot; host names are not unique."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']!s:.100}"
