"""GGUF files, as transformers reads them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from acclimate.base.errors import MissingExtra


def options(gguf_file: str | None) -> dict[str, str]:
    """What `from_pretrained` needs to read a GGUF file; nothing for None. Raises MissingExtra without its reader."""
    if not gguf_file:
        return {}
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("A GGUF model", "pip install gguf")
    return {"gguf_file": gguf_file}


@contextmanager
def read_once(gguf_file: str | None) -> Iterator[None]:
    """Around `from_pretrained`: the file is parsed once and the table of its tensors' names is made once.

    transformers parses it for the configuration, for the tokenizer and for the weights, and makes the table for each of
    the model's modules: of the 22 s that the embedded LLM took to load on a slow core, 14.
    """
    if not gguf_file:
        yield
        return
    reader: Any = importlib.import_module("gguf")
    parse, table = reader.GGUFReader, reader.get_tensor_name_map
    reader.GGUFReader, reader.get_tensor_name_map = functools.cache(parse), functools.cache(table)
    try:
        yield
    finally:
        reader.GGUFReader, reader.get_tensor_name_map = parse, table
