"""Language models by name. Every backend is an `acclimate.records.LLM`: prompts in, completions out.

A backend is one file here and one line in `load`. Decoding is greedy unless a temperature
is set: a query that an LLM is sure of is worth more than a varied one.
"""

from __future__ import annotations

from collections.abc import Sequence

from acclimate import models
from acclimate.files import fingerprint
from acclimate.llm.completions import Completions
from acclimate.records import LLM

__all__ = ["Completions", "check", "fingerprint_of", "is_served", "load"]


def is_served(name: str) -> bool:
    """True for an LLM behind a server, which is not on this machine as far as we know."""
    return name.startswith(("openai:", "openai-completions:"))


def check(name: str) -> None:
    """Raises SettingError, DataError or MissingExtra for a name that `load` would not take, without loading it."""
    if is_served(name):
        from acclimate.llm.server import ServerLLM

        ServerLLM(name).check()
    else:
        models.resolve(name)


def fingerprint_of(name: str) -> str:
    """Changes with the LLM behind a name, as far as can be told without loading it."""
    if is_served(name):
        from acclimate.llm.server import ServerLLM

        return ServerLLM(name).fingerprint
    return fingerprint(models.weights_fingerprint(name), models.dtype_name())


def load(
    name: str,
    *,
    max_new_tokens: int = 48,
    stop: Sequence[str] = ("\n",),
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> LLM:
    """The LLM of that name, ready to answer.

    name: a local path, a Hugging Face id, `embedded:NAME`, or `openai:MODEL`, `openai:MODEL@URL` (see `llm.server`).
    stop: texts that end an answer and are not part of it. temperature: 0 is greedy; above it, tokens are drawn from the
    likeliest ones that make up `top_p`, and `seed` says how.
    Raises SettingError for a name that no backend here serves.
    """
    if is_served(name):
        from acclimate.llm.server import ServerLLM

        return ServerLLM(
            name, max_new_tokens=max_new_tokens, stop=stop, temperature=temperature, top_p=top_p, seed=seed
        )
    from acclimate.llm.local import LocalLLM

    return LocalLLM(name, max_new_tokens=max_new_tokens, stop=stop, temperature=temperature, top_p=top_p, seed=seed)
