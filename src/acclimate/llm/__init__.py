"""Language models by name. Every backend is an `LLM` (`protocol.py`): prompts in, completions out.

A backend is one file in `backends/` and one line in `BACKENDS`; its class takes a name and a `Decoding`, and loads
nothing before it is asked. Decoding is greedy unless a temperature is set: a query that an LLM is sure of is worth more
than a varied one.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from acclimate.base import models
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import LLM, StreamingLLM

__all__ = [
    "BACKENDS",
    "LLM",
    "Backend",
    "Completions",
    "Decoding",
    "StreamingLLM",
    "check",
    "fingerprint_of",
    "is_served",
    "load",
]


class Backend(NamedTuple):
    """Where LLMs whose names begin alike come from."""

    module: str  # in `backends/`, imported when one of its LLMs is named
    llm: str  # the class in it
    names: str  # what follows the prefix
    about: str
    package: str  # that must be importable
    extra: str = ""  # of acclimate, that brings the package; nothing where acclimate itself does
    is_served: bool = False

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install 'acclimate[{self.extra}]'" if self.extra else "pip install acclimate"


_SERVER = Backend(
    "server", "ServerLLM", "MODEL[@URL]", "any OpenAI-compatible server", "openai", "openai", is_served=True
)
BACKENDS = {  # by prefix; the last one takes every name
    "openai:": _SERVER,
    "openai-completions:": _SERVER._replace(about="the same, for models without chat training"),
    "vllm:": Backend("vllm", "VllmLLM", "MODEL", "folder or Hugging Face id, on this machine's GPUs", "vllm", "vllm"),
    "llama.cpp:": Backend("llama_cpp", "LlamaCppLLM", "FILE.gguf", "in its own quantization", "llama_cpp", "llama-cpp"),
    "": Backend("local", "LocalLLM", "MODEL", "folder, .gguf file, Hugging Face id or embedded:NAME", "transformers"),
}


def is_served(name: str) -> bool:
    """True for an LLM behind a server, which is not on this machine as far as we know."""
    return _backend(name).is_served


def check(name: str) -> None:
    """Raises SettingError, DataError or MissingExtra for a name that `load` would not take, without loading it."""
    if _backend(name) is BACKENDS[""]:
        models.resolve(name)  # what computes with it takes seconds to import
    else:
        _class(name)(name).check()


def fingerprint_of(name: str) -> str:
    """Changes with the LLM behind a name, as far as can be told without loading it."""
    return _class(name)(name).fingerprint


def load(name: str, decoding: Decoding = Decoding()) -> LLM:  # noqa: B008 (immutable)
    """The LLM of that name, ready to answer: `openai:MODEL`, `vllm:MODEL`, `llama.cpp:FILE` or another of `BACKENDS`.

    Raises SettingError for a name that no backend serves.
    """
    return _class(name)(name, decoding)


def _backend(name: str) -> Backend:
    return next(backend for prefix, backend in BACKENDS.items() if name.startswith(prefix))


def _class(name: str) -> Any:
    backend = _backend(name)
    return getattr(importlib.import_module(f"acclimate.llm.backends.{backend.module}"), backend.llm)
