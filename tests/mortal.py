"""Work that ends its process once, in the middle, unless a file says that it has: for tests of lost workers.

Imports little, as each worker of a cluster imports this file.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.search import cached_candidates


def mortal(make: Callable[[], Any], mark: Path) -> Any:
    """The LLM that `make` makes, in a process that is killed at its second batch, unless the mark is there."""
    llm, asked = make(), []
    decoding_as = llm.decoding_as

    def ask(decoding):
        asked.append(decoding)
        if len(asked) == 2:
            _end_once(mark)
        return decoding_as(decoding)

    llm.decoding_as = ask
    return llm


@dataclass(frozen=True)
class MortalFinding(cached_candidates.Finding):
    """What is found of the first queries ends its process, unless the mark is there."""

    mark: Path = Path()

    def find(self, retrievers, asked):
        _end_once(self.mark)
        return super().find(retrievers, asked)


def _end_once(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
