"""Several addresses that answer alike: who is asked next, and who is left out for a while.

A request goes to the address with the fewest under way. One that cannot be reached, or fails as a server and not about
what it was asked, is left out for longer and longer, and asked again after that. Nothing waits as long as there is
another. With a single address nothing of this happens: it is asked again and again, see `backends.server`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_FIRST_SECONDS, _MOST_SECONDS = 1.0, 60.0  # that an address is left out


class Fleet:
    """Addresses, shared by the threads that send requests."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self._under_way = dict.fromkeys(self.urls, 0)
        self._failures = dict.fromkeys(self.urls, 0)  # in a row
        self._out_until = dict.fromkeys(self.urls, 0.0)
        self._guard = threading.Lock()

    @contextmanager
    def address(self) -> Iterator[str]:
        """The one to ask now; where all are left out, the one whose time is over first."""
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
        """It works."""
        with self._guard:
            self._failures[url] = 0
            self._out_until[url] = 0.0

    def leave_out(self, url: str, seconds: float | None = None) -> bool:
        """It does not, for so long as it says. True where another address can be asked now."""
        with self._guard:
            now = time.monotonic()
            if self._out_until[url] <= now:  # else somebody who was under way with us has said so
                self._failures[url] += 1
                wait = min(_MOST_SECONDS, _FIRST_SECONDS * 2 ** (self._failures[url] - 1))
                self._out_until[url] = now + max(wait, seconds or 0.0)
            return any(until <= now for until in self._out_until.values())
