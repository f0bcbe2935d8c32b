"""Which of a server's tokens a part of its text is made of: by bytes, because a character may be spread over tokens.

Servers write tokens as text, as `bytes:\\xe2\\x80`, with an array of bytes beside, with marks for blanks (Ġ, ▁), as
the replacement character where a token is no whole character, or as ids. Whatever cannot be read takes the place
between its neighbors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 24  # bytes that a token which cannot be read may stand for
_MARKS = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})
_ESCAPED = re.compile(r"\\x([0-9a-fA-F]{2})")


def logprobs_within(text: str, begin: int, end: int, logprobs: Any) -> tuple[float, ...]:
    """The log-probability of each token that `text[begin:end]` is made of; none where one of them is missing."""
    raw = text.encode("utf-8", "replace")
    first, last = len(text[:begin].encode("utf-8", "replace")), len(text[:end].encode("utf-8", "replace"))
    missing = bytearray(raw)  # what no token was found for is not blank
    found: list[Any] = []
    at = unread = read = pending = 0
    for token, logprob in _tokens(logprobs):
        start, stop = _place(raw, token, at, _LONGEST * pending)
        at = stop
        is_read = stop > start
        read += is_read
        pending = 0 if is_read else pending + 1
        missing[start:stop] = b" " * (stop - start)
        if (start < last and stop > first) if is_read else first <= at < last:
            found.append(logprob)
            unread += not is_read
    if len(b"".join(bytes(missing[first:last]).split())) > _LONGEST * unread or (not read and raw[last:].strip()):
        return ()
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in found):
        return ()
    return tuple(min(float(one), 0.0) for one in found)


def _tokens(logprobs: Any) -> Iterator[tuple[list[bytes], Any]]:
    """(the ways to read a token, its log-probability), of chat completions or of completions."""
    if not isinstance(logprobs, Mapping):
        return
    content, tokens, values = (logprobs.get(name) for name in ("content", "tokens", "token_logprobs"))
    if isinstance(content, list) and content:
        for one in content:
            if isinstance(one, Mapping):
                yield _readings(one.get("token"), one.get("bytes")), one.get("logprob")
    elif isinstance(tokens, list) and isinstance(values, list):
        for token, value in zip(tokens, values, strict=False):
            yield _readings(token, None), value


def _readings(token: Any, given: Any) -> list[bytes]:
    """The bytes that a token may be, the likeliest first."""
    if isinstance(given, list) and given and all(isinstance(one, int) and 0 <= one < 256 for one in given):
        whole = bytes(given)
        return [whole, whole.strip()]
    if not isinstance(token, str):
        return []
    if token.startswith("bytes:"):
        parts = _ESCAPED.split(token.removeprefix("bytes:"))
        return [b"".join(bytes.fromhex(p) if n % 2 else p.encode("utf-8", "replace") for n, p in enumerate(parts))]
    plain = token.encode("utf-8", "replace")
    marked = token.translate(_MARKS).encode("utf-8", "replace")
    return [plain, marked, marked.strip()]


def _place(raw: bytes, readings: list[bytes], at: int, further: int) -> tuple[int, int]:
    """Where a token stands, at a place or at most so much behind it; nowhere is between its neighbors."""
    for reach in (0, further):
        for token in filter(None, readings):
            if (start := raw.find(token, at, at + len(token) + reach)) >= 0:
                return start, start + len(token)
    return at, at
