"""How many requests go out at once, and for how long a server is asked again."""

from __future__ import annotations

import threading
from typing import NamedTuple

_ANSWERS_TO_WIDEN = 16


class Patience(NamedTuple):
    """How long to go on asking."""

    retries: int = 8
    request_seconds: float = 120.0  # for one request
    prompt_seconds: float = 900.0  # for one prompt, waiting included


class Gate:
    """Lets so many in at once. A small server works at one request a time, and those that wait for it must not run out
    of time: one that did narrows the gate, and answers widen it again."""

    def __init__(self, most: int) -> None:
        self._widest = self._most = most
        self._inside = self._answers = 0
        self._changed = threading.Condition()

    def enter(self) -> int:
        """Wait until there is room. Returns how many the gate let in at that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside < self._most)
            self._inside += 1
            return self._most

    def leave(self, *, answered: bool) -> None:
        """Make room for the next; `answered`: an answer came of it, and several of these widen the gate."""
        with self._changed:
            self._inside -= 1
            self._answers += answered
            if answered and self._answers % _ANSWERS_TO_WIDEN == 0:
                self._most = min(self._widest, self._most + 1)
            self._changed.notify_all()

    def narrow(self, seen: int) -> None:
        """Let in half as many, unless somebody who came in with us has said so."""
        with self._changed:
            if self._most == seen:
                self._most = max(1, seen // 2)
