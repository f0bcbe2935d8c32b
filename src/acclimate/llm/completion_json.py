"""Completions as JSON, validated when written and read, since older caches may hold invalid ones."""

from __future__ import annotations

import json

from acclimate.records import Completion

LEAST_LOGPROB = -1e6  # lower values are invalid
_MOST = 2**53  # larger token counts are invalid, and not exact in JSON


def dump(completion: Completion) -> str:
    """Raises ValueError for an invalid completion."""
    return json.dumps(_usable(completion)._asdict())


def load(payload: str) -> Completion:
    """Raises ValueError for an invalid completion."""
    try:
        row = json.loads(payload)
        return _usable(Completion(**{**row, "logprobs": tuple(row["logprobs"])}))
    except (TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"no completion: {error}") from None


def _usable(completion: Completion) -> Completion:
    """The completion, after validation. Raises ValueError."""
    for text in (completion.text, completion.finish_reason):
        if not isinstance(text, str):
            raise ValueError(f"{text!r:.60} is no text")
        text.encode()  # a UnicodeEncodeError is a ValueError
    for logprob in completion.logprobs:
        if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not LEAST_LOGPROB <= logprob <= 0:
            raise ValueError(f"a log-probability is {logprob!r:.60}")
    for count in (completion.prompt_tokens, completion.completion_tokens):
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < _MOST:
            raise ValueError(f"a number of tokens is {count!r:.60}")
    return completion
