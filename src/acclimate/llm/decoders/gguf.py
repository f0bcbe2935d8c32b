"""Load GGUF files with transformers."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def read_once() -> Iterator[None]:
    """Context for `from_pretrained` of a GGUF file that parses it, and builds its table of tensor names, only once.

    transformers parses it for configuration, tokenizer and weights, and builds the table for each module: 14 of the 22
    s to load the embedded LLM on a slow core. Parsing makes hundreds of thousands of slices, which takes a third of the
    time from a plain array as from a `numpy.memmap`.
    """
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
