"""Language models by name. Every backend is an `acclimate.records.LLM`: prompts in, completions out.

A backend is one file here and one line in `load`. Decoding is greedy: a query that an LLM is sure of is worth more
than a varied one, and the same prompts give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from acclimate.errors import SettingError
from acclimate.llm.completions import Completions
from acclimate.records import LLM

__all__ = ["Completions", "load"]


def load(name: str, *, max_new_tokens: int = 48, stop: Sequence[str] = ("\n",)) -> LLM:
    """The LLM of that name, ready to answer: a local path, a Hugging Face id or `embedded:NAME`.

    stop: texts that end an answer and are not part of it.
    Raises SettingError for a name that no backend here serves.
    """
    if name.startswith("openai:"):
        raise SettingError(
            f"{name}: OpenAI-compatible servers are not available yet; name a local path, a Hugging Face id or "
            "embedded:smollm2-135m-instruct"
        )
    from acclimate.llm.local import LocalLLM

    return LocalLLM(name, max_new_tokens=max_new_tokens, stop=stop)
