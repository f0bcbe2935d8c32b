"""Align a server's tokens with a part of its text, by bytes, as a character may span tokens.

Servers write tokens as text, as `bytes:\\xe2\\x80` or `<0xE2>`, with a byte array, with marks for blanks (Ġ, ▁), as
U+FFFD for incomplete characters, or as ids. An unreadable token takes the gap between its neighbors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from acclimate.base.text import printable
from acclimate.llm.completion_json import LEAST_LOGPROB

_ROUNDING = 0.01  # by which a log-probability may exceed 0; more is none, but perhaps a probability
_LONGEST = 24  # maximum bytes of an unreadable token
_MARKS = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})
_ID = re.compile(r"token_id:\d+")
_BYTE = re.compile(r"<0x([0-9a-fA-F]{2})>")
_ESCAPED = re.compile(r"\\x([0-9a-fA-F]{2})")


def logprobs_within(text: str, begin: int, end: int, logprobs: Any) -> tuple[float, ...]:
    """Log-probabilities of the tokens in `text[begin:end]`; empty if any is missing."""
    raw = text.encode("utf-8", "replace")
    first, last = len(text[:begin].encode("utf-8", "replace")), len(text[:end].encode("utf-8", "replace"))
    missing = bytearray(raw)  # bytes without a token; they must be blank
    chosen: list[float | None] = []
    position = unread = read = pending = 0
    for token, token_logprob in _tokens(logprobs):
        start, position = _place(raw, token.readings, position, _LONGEST * pending)
        if start < position:
            read, pending = read + 1, 0
            missing[start:position] = b" " * (position - start)
            if start < last and position > first:
                chosen.append(token_logprob)
        elif token.is_unreadable:
            pending += 1
            if first <= position < last:
                chosen.append(token_logprob)
                unread += 1
    lacks = len(b"".join(bytes(missing[first:last]).split()))
    if first == last or lacks > _LONGEST * unread or (not read and raw[last:].strip()):
        return ()
    known = [logprob for logprob in chosen if logprob is not None]
    return tuple(min(logprob, 0.0) for logprob in known) if len(known) == len(chosen) else ()


class _Token(NamedTuple):
    readings: list[bytes]  # possible bytes, most likely first
    is_unreadable: bool = False  # not text, or part of a character; others that are not found are not of the text


def _tokens(logprobs: Any) -> Iterator[tuple[_Token, float | None]]:
    """(token, log-probability or None if invalid) of chat completions or of completions."""
    if not isinstance(logprobs, Mapping):
        return
    content, tokens, values = (logprobs.get(name) for name in ("content", "tokens", "token_logprobs"))
    if isinstance(content, list) and content:
        for entry in content:
            if isinstance(entry, Mapping):
                yield _token(entry.get("token"), entry.get("bytes")), _number(entry.get("logprob"))
    elif isinstance(tokens, list) and isinstance(values, list):
        for token, value in zip(tokens, values, strict=False):
            yield _token(token, None), _number(value)


def _token(token: Any, byte_values: Any) -> _Token:
    if (
        isinstance(byte_values, list)
        and byte_values
        and all(isinstance(number, int) and 0 <= number < 256 for number in byte_values)
    ):
        return _Token([bytes(byte_values), bytes(byte_values).strip()])
    if not isinstance(token, str):
        return _Token([], is_unreadable=True)
    token = printable(token)  # like the text
    if byte := _BYTE.fullmatch(token):
        return _Token([bytes.fromhex(byte[1]), token.encode()])
    if token.startswith("bytes:"):
        parts = _ESCAPED.split(token.removeprefix("bytes:"))
        return _Token(
            [b"".join(bytes.fromhex(p) if n % 2 else p.encode("utf-8", "replace") for n, p in enumerate(parts))]
        )
    forms = [token, token.translate(_MARKS), token.translate(_MARKS).strip()]
    is_unreadable = "\ufffd" in token or _ID.fullmatch(token) is not None
    return _Token([form.encode("utf-8", "replace") for form in forms], is_unreadable)


def _number(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return number if LEAST_LOGPROB <= number < _ROUNDING else None


def _place(raw: bytes, readings: list[bytes], position: int, further: int) -> tuple[int, int]:
    """(start, end) of a token at most `further` bytes after a position; if not found, between its neighbors."""
    for reach in (0, further):
        for token in filter(None, readings):
            if (start := raw.find(token, position, position + len(token) + reach)) >= 0:
                return start, start + len(token)
    return position, position
