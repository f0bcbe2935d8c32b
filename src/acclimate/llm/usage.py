"""What was asked of LLMs: calls and tokens, which `prices.py` turns into dollars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from acclimate.records import Completion


class Usage(NamedTuple):
    """What was asked of an LLM. Answers found in the cache are not in it."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, completions: Sequence[Completion]) -> Usage:
        """This, and what these answers took."""
        return Usage(
            self.calls + len(completions),
            self.prompt_tokens + sum(completion.prompt_tokens for completion in completions),
            self.completion_tokens + sum(completion.completion_tokens for completion in completions),
        )


Ledger = dict[tuple[str, str], Usage]  # by stage and name of the LLM
