"""Load GGUF files with transformers."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from acclimate.base.errors import MissingExtra


def options(gguf_file: str | None) -> dict[str, str]:
    """Arguments of `from_pretrained` for a GGUF file; empty for None. Raises MissingExtra without the gguf package."""
    if not gguf_file:
        return {}
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("A GGUF model", "pip install gguf")
    return {"gguf_file": gguf_file}


@contextmanager
def read_once(gguf_file: str | None) -> Iterator[None]:
    """Context for `from_pretrained` that parses the file, and builds its table of tensor names, only once.

    transformers parses it for configuration, tokenizer and weights, and builds the table for each module: 14 of the 22
    s to load the embedded LLM on a slow core. Parsing makes hundreds of thousands of slices, which takes a third of the
    time from a plain array as from a `numpy.memmap`.
    """
    if not gguf_file:
        yield
        return
    reader: Any = importlib.import_module("gguf")
    parse, table = reader.GGUFReader, reader.get_tensor_name_map

    class FromArray(parse):
        def _get(self, *args: Any, **options: Any) -> Any:
            if isinstance(self.data, np.memmap):
                self.data = self.data.view(np.ndarray)
            return super()._get(*args, **options)

    reader.GGUFReader, reader.get_tensor_name_map = functools.cache(FromArray), functools.cache(table)
    try:
        yield
    finally:
        reader.GGUFReader, reader.get_tensor_name_map = parse, table
