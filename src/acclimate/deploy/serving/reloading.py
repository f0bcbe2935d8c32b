"""Hot reload: when a run is rebuilt, the worker switches to the new one once it is loaded and has answered a query.

Changes are detected by size, time and inode of the manifests and the report, checked every few seconds. While `adapt`
is running there is no manifest of `evaluate`, so nothing is loaded. The old run stays in use until the new one works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from acclimate.base.errors import AcclimateError
from acclimate.deploy.serving.loaded import LoadedRun
from acclimate.deploy.serving.worker import Worker

_LAST_STAGE = "evaluate"
State = tuple[tuple[str, int, int, int], ...]


class Reloading:
    """Keeps a worker's run up to date. `check` must not be called concurrently."""

    def __init__(self, worker: Worker, load: Callable[[], LoadedRun], folder: Path, state: State) -> None:
        """state: `state_of` the folder before the worker's run was loaded, so that no change since is missed."""
        self._worker, self._load, self._folder = worker, load, folder
        self._loaded = self._last = state
        self.problem: str | None = None  # why a newer run is not served

    def check(self) -> str | None:
        """Load a run that has changed, and not changed again since the last check.

        Returns `swapped`, `same` or `failed`; None if there is nothing to load.
        """
        state = state_of(self._folder)
        is_at_rest, self._last = state == self._last, state
        if state == self._loaded or not is_at_rest or not (self._folder / _LAST_STAGE / "manifest.json").is_file():
            return None
        self._loaded = state
        try:
            run = self._load()
            if run.fingerprint == self._worker.run.fingerprint:
                self.problem = None
                return "same"
            run.warm()
        except Exception as error:  # damaged files can raise any exception
            reason = str(error) if isinstance(error, AcclimateError) else f"{type(error).__name__}: {error}"
            self.problem = f"the run changed and cannot be used ({reason}); serving the old one"
            is_unexpected = not isinstance(error, AcclimateError)
            logging.getLogger("acclimate").warning("serve: %s", self.problem, exc_info=is_unexpected)
            return "failed"
        self._worker.run, self.problem = run, None
        logging.getLogger("acclimate").info("serve: switched to a newer run, with %s", run.system)
        return "swapped"


def state_of(folder: Path) -> State:
    """A state that changes when a stage or the report is made again."""
    states: list[tuple[str, int, int, int]] = []
    for path in sorted([*folder.glob("[!.]*/manifest.json"), folder / "report.json"]):
        try:
            stat = path.stat()
        except OSError:  # the file is being replaced
            continue
        states.append((path.relative_to(folder).as_posix(), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(states)
