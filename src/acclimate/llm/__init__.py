"""Language models by name. Every backend is an `acclimate.records.LLM`: prompts in, completions out.

A backend is one file here and one line in `BACKENDS`. Decoding is greedy unless a temperature is set: a query that an
LLM is sure of is worth more than a varied one.
"""

from __future__ import annotations

from acclimate import models
from acclimate.files import fingerprint
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.records import LLM

__all__ = ["Completions", "Decoding", "check", "fingerprint_of", "is_served", "load"]


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


def load(name: str, decoding: Decoding = Decoding()) -> LLM:  # noqa: B008 (immutable)
    """The LLM of that name, ready to answer.

    name: a local path, a Hugging Face id, `embedded:NAME`, or `openai:MODEL`, `openai:MODEL@URL` (see `llm.server`).
    Raises SettingError for a name that no backend here serves.
    """
    if is_served(name):
        from acclimate.llm.server import ServerLLM

        return ServerLLM(name, decoding)
    from acclimate.llm.local import LocalLLM

    return LocalLLM(name, decoding)
