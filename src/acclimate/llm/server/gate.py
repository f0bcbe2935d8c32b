"""Limit concurrent requests, and the time spent on each."""

from __future__ import annotations

import threading
from typing import NamedTuple

_ANSWERS_TO_WIDEN = 16


class Patience(NamedTuple):
    """Time limits."""

    retries: int = 8
    request_seconds: float = 120.0  # per request
    prompt_seconds: float = 900.0  # per prompt, including retries


class Retry(Exception):
    """A temporary failure.

    after: delay requested by the server, in seconds. was_late: timeout. was_unusable: an answer without content.
    was_fault: an error within the server.
    """

    def __init__(
        self,
        reason: str,
        after: float | None = None,
        *,
        was_late: bool = False,
        was_unusable: bool = False,
        was_fault: bool = False,
    ) -> None:
        super().__init__(reason)
        self.after = after
        self.was_late, self.was_unusable, self.was_fault = was_late, was_unusable, was_fault


class Gate:
    """Limits concurrency adaptively.

    A timeout halves the limit, since small servers process one request at a time; successes raise it again.
    """

    def __init__(self, most: int) -> None:
        self._widest = self._most = most
        self._inside = 0
        self.answers = 0  # successes so far
        self._changed = threading.Condition()

    def enter(self) -> int:
        """Wait for a slot; returns the current limit."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside < self._most)
            self._inside += 1
            return self._most

    def leave(self, *, answered: bool) -> None:
        """Free a slot; `answered`: it succeeded, and several successes raise the limit."""
        with self._changed:
            self._inside -= 1
            self.answers += answered
            if answered and self.answers % _ANSWERS_TO_WIDEN == 0:
                self._most = min(self._widest, self._most + 1)
            self._changed.notify_all()

    def narrow(self, seen: int) -> None:
        """Halve the limit, unless a request that started at the same limit already did."""
        with self._changed:
            if self._most == seen:
                self._most = max(1, seen // 2)
