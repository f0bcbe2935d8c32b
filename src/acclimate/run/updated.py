"""The last update of a run: indexes beside the stages, and counts of documents that changed since.

`updated/manifest.json`, written last, names the current folder in `updated`, so checking for changes means reading that
file alone. Stages and measurements stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import read_json, write_json
from acclimate.base.text import command, counted
from acclimate.run.input import CorpusFiles
from acclimate.run.manifests import are_outputs, damaged_output, outputs

FOLDER, MANIFEST = "updated", "manifest.json"
_FACTS = {"folder": str, "kept": dict, "made_of": dict, "since": dict, "drifted": list, "files": dict}
TERMS = "terms"  # file with the terms of each document


@dataclass(frozen=True)
class LastUpdate:
    """The newest update of a run."""

    run_folder: Path
    facts: Mapping[str, Any]  # content of the manifest

    @property
    def folder(self) -> Path:
        """The folder of the indexes."""
        return self.run_folder / FOLDER / self.facts["folder"]

    @property
    def kept(self) -> CorpusFiles:
        """The stored files of the documents that are searched now."""
        return CorpusFiles(**self.facts["kept"])

    @property
    def since(self) -> dict[str, int]:
        """Number of documents added, changed and removed since the stages were made."""
        return self.facts["since"]

    @property
    def warnings(self) -> list[str]:
        """Warnings for the report: how many documents differ, and what has drifted; none if no document differs."""
        if not any(self.since.values()):
            return []
        came, changed, went = (self.since[name] for name in ("came", "changed", "went"))
        counts = f"{counted(came, 'document was', 'documents were')} added, {changed:,} changed and {went:,} removed"
        return [
            f"Since these measurements, {counts}. Searches reflect this; the figures do not.",
            *self.facts["drifted"],
        ]

    @classmethod
    def read(cls, run_folder: Path) -> LastUpdate | None:
        """The last update; None if there was none. Raises DataError if its files are damaged."""
        path = run_folder / FOLDER / MANIFEST
        if not path.is_file():
            return None
        facts = read_json(path)
        again = f"remove {path.parent}, and update again with: {command('update', run_folder, 'NEWDOCS')}"
        if not _is_whole(facts):
            raise DataError(f"damaged, or written by another version; {again}", path=path)
        if damaged := damaged_output(path.parent / facts["folder"], facts["files"], path):
            raise DataError(f"not as the update made it; {again}", path=damaged)
        return cls(run_folder, facts)

    @classmethod
    def write(cls, run_folder: Path, facts: Mapping[str, Any]) -> LastUpdate:
        """Switch to the update in the folder named in `facts`."""
        folder = run_folder / FOLDER / facts["folder"]
        write_json(run_folder / FOLDER / MANIFEST, {**facts, "files": outputs(folder)})
        return cls(run_folder, facts)


def state_of_update(run_folder: Path) -> tuple[int, int] | None:
    """A state that changes with every update; None if there was none. Costs a look at one file."""
    try:
        stat = (run_folder / FOLDER / MANIFEST).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _is_whole(facts: Any) -> bool:
    """True for a valid manifest."""
    return (
        isinstance(facts, dict)
        and all(isinstance(facts.get(name), kind) for name, kind in _FACTS.items())
        and Path(facts["folder"]).name == facts["folder"]
        and "documents" in facts["kept"].keys() <= {*CorpusFiles._fields}
        and all(isinstance(name, str) for name in (*facts["kept"].values(), *facts["drifted"]))
        and are_outputs(facts["files"])
        and all(isinstance(facts["since"].get(name), int) for name in ("came", "changed", "went"))
    )
