"""Language models by name. Every backend implements `LLM` (`protocol.py`): prompts in, completions out.

A backend is one file in `backends/` and one entry in `BACKENDS`; its class takes a name and a `Decoding`, and loads
nothing before it is used. Decoding is greedy unless a temperature is set: a confident query is worth more than a varied
one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base import files, models
from acclimate.base.errors import DataError, SettingError
from acclimate.base.loading import LANGUAGE_MODEL, OF_ANY_LIBRARY, check_model
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import LLM, StreamingLLM
from acclimate.llm.server.address import parse

__all__ = [
    "BACKENDS",
    "LLM",
    "Backend",
    "Completions",
    "Decoding",
    "StreamingLLM",
    "check",
    "check_files",
    "fingerprint_of",
    "is_served",
    "load",
    "why_unreachable",
]


class Backend(NamedTuple):
    """Where the LLMs with one prefix come from."""

    module: str  # in `backends/`, imported when one of its LLMs is named
    llm: str  # name of its class
    names: str  # what may follow the prefix
    about: str
    package: str  # that must be importable
    extra: str = ""  # of acclimate, that installs the package; empty if acclimate itself does
    is_served: bool = False
    kind: str = OF_ANY_LIBRARY  # what its models must be, as `check_model` has it

    @property
    def command(self) -> str:
        """The command that installs it."""
        return f"pip install 'acclimate[{self.extra}]'" if self.extra else "pip install acclimate"


_SERVER = Backend(
    "server", "ServerLLM", "MODEL[@URL]", "any OpenAI-compatible server", "openai", "openai", is_served=True
)
BACKENDS = {  # prefix -> backend; the last one takes every other name
    "openai:": _SERVER,
    "openai-completions:": _SERVER._replace(about="the same, for models without chat training"),
    "vllm:": Backend("vllm", "VllmLLM", "MODEL", "folder or Hugging Face id, on this machine's GPUs", "vllm", "vllm"),
    "llama.cpp:": Backend("llama_cpp", "LlamaCppLLM", "FILE.gguf", "in its own quantization", "llama_cpp", "llama-cpp"),
    "": Backend(
        "local",
        "LocalLLM",
        "MODEL",
        "folder, .gguf file, Hugging Face id or embedded:NAME",
        "transformers",
        kind=LANGUAGE_MODEL,
    ),
}


def is_served(name: str) -> bool:
    """True for an LLM behind a server."""
    return _backend(name).is_served


def check(name: str) -> None:
    """Raises SettingError, DataError or MissingExtra for a name that cannot be loaded, without loading it."""
    if _backend(name) is BACKENDS[""]:
        with _naming_servers(name):
            models.resolve(name)  # the backend takes seconds to import
    else:
        _class(name)(name).check()


def fingerprint_of(name: str) -> str:
    """Fingerprint of the LLM behind a name, as far as possible without loading it."""
    with _naming_servers(name):
        return _class(name)(name).fingerprint


def check_files(name: str, *, downloads: bool = True) -> None:
    """Raises DataError for a local LLM that cannot be loaded, without reading its weights.

    downloads: False leaves out a model of a hub, which would be downloaded.
    """
    prefix, backend = _entry(name)
    if not backend.is_served:
        with _naming_servers(name):
            model = name.removeprefix(prefix)
            if downloads or models.resolve(model).is_local:
                check_model(model, backend.kind)


def why_unreachable(name: str) -> str:
    """Why the server of an LLM accepts no connection; "" if it does."""
    from acclimate.llm.server.reachable import why_unreachable

    address = parse(name)
    return why_unreachable([address.url, *address.more_urls])


def load(name: str, decoding: Decoding = Decoding()) -> LLM:
    """The LLM of that name: `openai:MODEL`, `vllm:MODEL`, `llama.cpp:FILE` or another of `BACKENDS`.

    Raises SettingError for a name that no backend serves.
    """
    return _class(name)(name, decoding)


@contextmanager
def _naming_servers(name: str) -> Iterator[None]:
    """Context in which the error for a model that is not on this machine also names LLMs behind servers."""
    try:
        yield
    except (SettingError, DataError) as error:
        if _backend(name) is not BACKENDS[""] or name.startswith("embedded:") or files.exists(Path(name)):
            raise
        example = "openai:MODEL@http://host:port/v1"
        raise type(error)(f"{error}; an LLM behind a server is named openai:MODEL or {example}") from None


def _backend(name: str) -> Backend:
    return _entry(name)[1]


def _entry(name: str) -> tuple[str, Backend]:
    return next((prefix, backend) for prefix, backend in BACKENDS.items() if name.startswith(prefix))


def _class(name: str) -> Any:
    backend = _backend(name)
    return getattr(importlib.import_module(f"acclimate.llm.backends.{backend.module}"), backend.llm)
