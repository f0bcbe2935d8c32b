"""Estimate the LLM calls of a stage without loading the LLM.

Rough and pessimistic: every answer has its full length, and nothing is cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from acclimate.llm.ask import tasks_of
from acclimate.llm.lengths import about_tokens
from acclimate.llm.prompts import Mix


class Calls(NamedTuple):
    """Number of calls, with their prompt and completion tokens."""

    calls: int
    prompt_tokens: int
    completion_tokens: int


def calls_of(doc_texts: Mapping[str, str], mix: Mix, per_doc: int, *, is_drawn: bool, max_new_tokens: int) -> Calls:
    """The calls for prompts with these docs, without duplicates. See `ask.tasks_of`."""
    requests = {(task.text, task.sample) for task in tasks_of(doc_texts, mix, per_doc, is_drawn=is_drawn)}
    read = sum(about_tokens(text) for text, _ in requests)
    return Calls(len(requests), read, len(requests) * max_new_tokens)
