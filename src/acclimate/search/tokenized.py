"""Tokens of many texts in an unnamed temporary file, so that memory does not grow with them."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.base.disk import writing
from acclimate.search.encoded import Tokens


class TokenizedTexts:
    """Tokenized texts by number, in the order added, from 0."""

    def __init__(self, folder: Path) -> None:
        self.lengths = array("i")  # tokens per text
        self.counts = array("i")  # of these, tokens with vectors
        self._starts = array("q")
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> TokenizedTexts:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, texts: Sequence[Tokens]) -> None:
        """Append texts."""
        with writing(self._folder):
            for text in texts:
                ids, keep, attend = (np.asarray(part, dtype=np.int32) for part in text)
                self._starts.append(self._file.tell())
                self.lengths.append(len(ids))
                self.counts.append(int(keep.sum()))
                self._file.write((ids << 2 | keep << 1 | attend).tobytes())
            self._file.flush()

    def read(self, numbers: Sequence[int]) -> list[Tokens]:
        """The texts of these numbers, in order."""
        texts: list[Tokens] = []
        for number in numbers:
            self._file.seek(self._starts[number])
            codes: Any = np.frombuffer(self._file.read(4 * self.lengths[number]), dtype=np.int32)
            texts.append(Tokens(codes >> 2, (codes & 2) != 0, (codes & 1) != 0))
        return texts
