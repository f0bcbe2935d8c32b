"""Delays that servers ask for, in headers and in the words of a message."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_LONGEST_MESSAGE = 6_000  # characters that are read of one
_WAIT = re.compile(
    r"\b(?:try again|retry|wait)\b[^\d.]{0,20}(?P<times>(?:\d+(?:\.\d+)?\s*[a-z]+[\s,]*(?:and\s)?)+)", re.IGNORECASE
)
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|mil|s|m|h)[a-z]*", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "mil": 0.001, "s": 1, "m": 60, "h": 3600}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The delay requested in headers, in seconds, given as number or date (RFC 9110, section 10.2.3), or by Azure in
    milliseconds; None if absent.

    A date is relative to the response's own date, if it has one, as clocks differ.
    """
    value, milliseconds = (headers.get(name, "").strip() for name in ("retry-after", "retry-after-ms"))
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(value)
    except ValueError:
        try:
            now = _time_of(headers["date"])
        except (KeyError, ValueError):
            now = time.time()
        try:
            seconds = _time_of(value) - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _time_of(date: str) -> float:
    """Parse an HTTP date, which is in UTC even if not stated."""
    return parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp()


def wait_in(words: str) -> float | None:
    """The delay requested in a message, in seconds: "Please try again in 6m32.5s"."""
    match = _WAIT.search(words[:_LONGEST_MESSAGE])
    times = _TIME.findall(match["times"]) if match else []
    return math.fsum(float(number) * _SECONDS[unit.lower()] for number, unit in times) if times else None
