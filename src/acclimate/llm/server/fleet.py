"""Balance requests over equivalent addresses, and pause failing ones.

A request goes to the address with the fewest pending ones. An address that cannot be reached, or fails as a server, is
paused for increasing times and then tried again; other addresses take over at once. A single address is never paused,
but retried, see `backends.server`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_FIRST_SECONDS, _MOST_SECONDS = 1.0, 60.0  # pause of an address


class Fleet:
    """Addresses shared by all requesting threads."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self._under_way = dict.fromkeys(self.urls, 0)
        self._failures = dict.fromkeys(self.urls, 0)  # consecutive failures
        self._out_until = dict.fromkeys(self.urls, 0.0)
        self._guard = threading.Lock()

    @contextmanager
    def address(self) -> Iterator[str]:
        """The address to use now; if all are paused, the one whose pause ends first."""
        with self._guard:
            now = time.monotonic()
            url = min(self.urls, key=lambda url: (max(0.0, self._out_until[url] - now), self._under_way[url]))
            self._under_way[url] += 1
        try:
            yield url
        finally:
            with self._guard:
                self._under_way[url] -= 1

    def answered(self, url: str) -> None:
        """Record a success."""
        with self._guard:
            self._failures[url] = 0
            self._out_until[url] = 0.0

    def leave_out(self, url: str, seconds: float | None = None) -> bool:
        """Record a failure, pausing the address for `seconds` or longer; returns whether another one is available."""
        with self._guard:
            now = time.monotonic()
            if self._out_until[url] <= now:  # otherwise another concurrent request has recorded it
                self._failures[url] += 1
                wait = min(_MOST_SECONDS, _FIRST_SECONDS * 2 ** (self._failures[url] - 1))
                self._out_until[url] = now + max(wait, seconds or 0.0)
            return any(until <= now for until in self._out_until.values())
