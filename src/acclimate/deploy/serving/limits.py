"""Limits of a service: what exceeds them is refused with a clear answer, and nothing waits forever."""

from __future__ import annotations

from dataclasses import dataclass, fields

from acclimate.base.errors import SettingError
from acclimate.base.text import quoted


@dataclass(frozen=True)
class Limits:
    """Limits of a service, all above 0. Raises SettingError for one that is not.

    >>> acclimate.Limits(max_k=20).max_k
    20
    """

    max_query_chars: int = 1000
    max_k: int = 100  # documents of an answer
    max_body_bytes: int = 64 * 1024
    max_requests: int = 256  # at work or waiting; one more is told to come again (429)
    max_connections: int = 2000  # open ones; one more is turned away (503)
    request_seconds: float = 30.0  # from the whole request to the whole answer (504)
    read_seconds: float = 10.0  # for the head of a request, and again for its body (408)
    idle_seconds: float = 15.0  # that a connection is kept open for a next request
    stop_seconds: float = 30.0  # that requests at work are waited for when the service is stopped

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1e9):
                raise SettingError(f"{field.name} is {quoted(value)}; expected a number above 0")
