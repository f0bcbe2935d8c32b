"""The output of a stage: its folder, and its manifest.

Each stage has its own subclass (`sample.Sampled`, `filter.Filtered`, ...) with typed properties for what other stages
read, so that nobody else needs to know file names or manifest notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError
from acclimate.base.text import command


@dataclass
class Account:
    """What a stage reports of its work; the workspace adds the rest of the manifest."""

    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> count
    tokens: dict[str, int] = field(default_factory=dict)  # "prompt", "completion"
    cost_usd: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)  # anything else for readers, as JSON


@dataclass(frozen=True)
class StageOutput:
    """A finished stage."""

    folder: Path
    manifest: dict[str, Any]
    resumed: bool  # True if it existed already

    stage: ClassVar[str]
    kept_nothing: ClassVar[str] = ""  # message if nothing was kept, which stops the run
    advice: ClassVar[Mapping[str, str]] = {}  # reason for dropping -> what to do about it

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.folder.name

    @property
    def fingerprint(self) -> str:
        """Digest of the output's content, not of how it was made: identical outputs leave later stages valid."""
        return fingerprint(self.manifest["outputs"])

    @property
    def notes(self) -> dict[str, Any]:
        return self.manifest["notes"]

    def noted(self, *names: str) -> str:
        """Fingerprint of some notes, for a stage that reads them; of all if no names are passed."""
        return fingerprint({name: self.notes[name] for name in names or self.notes})

    def check_kept(self) -> None:
        """Raises DataError if nothing was kept, with counts, reasons and advice."""
        if not self.kept_nothing or self.manifest["out"]:
            return
        dropped = sorted(self.manifest["dropped"].items(), key=lambda item: (-item[1], item[0]))
        counts = ", ".join(f"{count:,} {reason}" for reason, count in dropped) or f"it read {self.manifest['in']:,}"
        commonest = dropped[0][0] if dropped else ""
        parts = [
            f"{self.name}: {self.kept_nothing}: {counts}",
            self.advice.get(commonest, ""),
            *self.examples_of(commonest),
            f"look at them with: {command('inspect', self.folder.parent)}",
        ]
        raise DataError("; ".join(filter(None, parts)))

    def examples_of(self, reason: str) -> list[str]:
        """Examples of what was dropped for this reason, to show in a message."""
        return []


Output = TypeVar("Output", bound=StageOutput)
