"""LLM usage: calls and tokens, which `prices.py` turns into dollars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from acclimate.records import Completion


class Usage(NamedTuple):
    """Usage of an LLM, without cached answers."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, completions: Sequence[Completion]) -> Usage:
        """Add the usage of these answers."""
        return Usage(
            self.calls + len(completions),
            self.prompt_tokens + sum(completion.prompt_tokens for completion in completions),
            self.completion_tokens + sum(completion.completion_tokens for completion in completions),
        )


Ledger = dict[tuple[str, str], Usage]  # (stage, LLM) -> usage
