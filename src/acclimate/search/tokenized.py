"""The tokens of many texts, in a file without a name: memory does not grow with them, and nothing stays behind."""

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
    """Texts as an encoder reads them, by their number: the first one added is 0."""

    def __init__(self, folder: Path) -> None:
        self.lengths = array("i")  # tokens of each text
        self.counts = array("i")  # of these, whose vectors are kept
        self._starts = array("q")
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> TokenizedTexts:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, texts: Sequence[Tokens]) -> None:
        """Write some more texts."""
        with writing(self._folder):
            for text in texts:
                ids, keep, attend = (np.asarray(part, dtype=np.int32) for part in text)
                self._starts.append(self._file.tell())
                self.lengths.append(len(ids))
                self.counts.append(int(keep.sum()))
                self._file.write((ids << 2 | keep << 1 | attend).tobytes())
            self._file.flush()

    def read(self, numbers: Sequence[int]) -> list[Tokens]:
        """Some of them, in that order."""
        texts: list[Tokens] = []
        for number in numbers:
            self._file.seek(self._starts[number])
            codes: Any = np.frombuffer(self._file.read(4 * self.lengths[number]), dtype=np.int32)
            texts.append(Tokens(codes >> 2, (codes & 2) != 0, (codes & 1) != 0))
        return texts
