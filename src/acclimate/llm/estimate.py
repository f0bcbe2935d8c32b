"""What asking an LLM would take, told without loading it.

Rough, on the high side: every answer has its full length, and nothing is cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from acclimate.llm.ask import tasks_of
from acclimate.llm.lengths import about_tokens
from acclimate.llm.prompts import Mix


class Calls(NamedTuple):
    """How often an LLM is asked, and the tokens that it reads and writes."""

    calls: int
    prompt_tokens: int
    completion_tokens: int


def calls_of(doc_texts: Mapping[str, str], mix: Mix, per_doc: int, *, is_drawn: bool, max_new_tokens: int) -> Calls:
    """For prompts that show these docs; a prompt that is asked twice is asked once. See `ask.tasks_of`."""
    requests = {(task.text, task.sample) for task in tasks_of(doc_texts, mix, per_doc, is_drawn=is_drawn)}
    read = sum(about_tokens(text) for text, _ in requests)
    return Calls(len(requests), read, len(requests) * max_new_tokens)
