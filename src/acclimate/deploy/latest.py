"""The searchers of a run's folder as it is now, for any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from acclimate.deploy.searchers import Searchers
from acclimate.run.updated import state_of_update
from acclimate.stages.runs import StagesChanged, open_latest

T = TypeVar("T")


class LatestSearchers:
    """Opened when first asked, and again after an update, by whatever process; threads take turns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()  # searchers cache what they were asked last
        self._searchers: Searchers | None = None
        self._update: tuple[int, int] | None = None  # the last one when they were opened

    def ask(self, question: Callable[[Searchers], T]) -> T:
        """The answer to a question; if stages are remade meanwhile, that of the new ones."""
        with self._lock:
            try:
                return question(self._latest())
            except StagesChanged:
                self._searchers = None
                return question(self._latest())

    def _latest(self) -> Searchers:
        """While stages are remade, those from before that stay in use."""
        update = state_of_update(self._folder)
        if self._searchers is None or update != self._update:
            try:
                self._searchers, self._update = Searchers(*open_latest(self._folder)), update
            except StagesChanged:
                if self._searchers is None:
                    raise
        return self._searchers
