"""Who works in a folder that several machines share.

Of one machine's processes the lock of a file lets one in. Not every shared file system knows of another machine's
locks, so whoever works also says so, in `.lease`, again and again. One who comes from another machine watches whether
that is still said, by no clock but its own, and takes the folder over where it is not. One who had stopped for so long,
and goes on, sees that somebody else is there, and stops.
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
from typing import IO, Any

from acclimate.base import distributed
from acclimate.base.errors import AcclimateError, DataError
from acclimate.base.files import write_json

NAME = ".lease"
BEAT_SECONDS = 5.0  # between two signs of life
PATIENCE_SECONDS = 30.0  # without any, after which a folder is free
_TRIES, _BETWEEN_TRIES = 10, 0.01  # seconds, to get the lock of a file


class Lease:
    """The hold of one process on one folder, as long as it says so."""

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
        """Within it this process is the one that works. Raises AcclimateError where another machine's does."""
        self._begin()
        self._wait()
        self._beat()
        thread = threading.Thread(target=self._go_on, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()
            if self._successor is None:
                self.path.unlink(missing_ok=True)

    def is_fresh(self) -> bool:
        """True where whoever works, or did, has said so lately, by the clock of the file system."""
        try:
            return time.time() - self.path.stat().st_mtime < PATIENCE_SECONDS
        except OSError:
            return False

    def check(self) -> None:
        """Raises AcclimateError where another process has taken over, and where the folder is gone."""
        if not self.path.parent.is_dir():
            raise AcclimateError(f"{self.path.parent} no longer exists; it was moved or removed while this was running")
        if self._successor is not None:
            raise AcclimateError(
                f"{self.path.parent} was taken over by {_name(self._successor)}, because this process gave no sign "
                f"of life for {PATIENCE_SECONDS:g} seconds; completed work is kept, and the other process continues"
            )

    def _wait(self) -> None:
        """Until no other machine works here."""
        holder, started = read(self.path), time.monotonic()
        if holder is None or holder["machine"] == self._holder["machine"]:  # that one is dead, by the lock
            return
        distributed.say("", f"waiting {PATIENCE_SECONDS:g} seconds for a sign of {_name(holder)}, who worked here last")
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
                if self.path.parent.is_dir():  # which nobody wants back who has removed it
                    self._beat()
            except (OSError, AcclimateError):  # the folder cannot be reached for now, and work that needs it says so
                continue

    def _beat(self) -> None:
        self._beats += 1
        write_json(self.path, {**self._holder, "token": self._token, "beats": self._beats})


def is_locked(handle: IO[str]) -> bool:
    """True once this process alone has the lock of a file; whoever only looks on takes it for an instant."""
    import fcntl

    for _ in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_BETWEEN_TRIES)
        except OSError as error:
            raise DataError(
                f"cannot lock files here: {error.strerror}; choose a folder elsewhere", path=handle.name
            ) from None
    return False


def read(path: Path) -> dict[str, Any] | None:
    """Who works in a folder, by its file; None where nobody does, or nobody whose file can be read."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return {key: holder[key] for key in ("host", "machine", "pid", "token", "beats")}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def machine() -> str:
    """This machine since it was started: names of hosts are not unique."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']!s:.100}"
