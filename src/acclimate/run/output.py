"""What a stage leaves: its folder, and the manifest that says how it came about.

Each stage has a kind of its own (`sample.Sampled`, `filter.Filtered`, ...) that says what others read of its files, so
that nobody else needs to know their names or what the manifest notes.
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
    """What a stage reports of itself; the workspace adds the rest."""

    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> count
    tokens: dict[str, int] = field(default_factory=dict)  # "prompt", "completion"
    cost_usd: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)  # whatever else a reader should know, JSON-able


@dataclass(frozen=True)
class StageOutput:
    """A finished stage."""

    folder: Path
    manifest: dict[str, Any]
    resumed: bool  # it was there already

    stage: ClassVar[str]
    kept_nothing: ClassVar[str] = ""  # what to say where nothing was kept, which later stages cannot work with
    advice: ClassVar[Mapping[str, str]] = {}  # what helps, by the reason that most was dropped for

    @property
    def name(self) -> str:
        """The stage's."""
        return self.folder.name

    @property
    def fingerprint(self) -> str:
        """Digest of what it made, not of how: a stage that comes to the same bytes leaves later ones as they are."""
        return fingerprint(self.manifest["outputs"])

    @property
    def notes(self) -> dict[str, Any]:
        return self.manifest["notes"]

    def noted(self, *names: str) -> str:
        """The fingerprint of some of the notes, for a stage that reads them; of all where none are named."""
        return fingerprint({name: self.notes[name] for name in names or self.notes})

    def check_kept(self) -> None:
        """Raises DataError where nothing was kept: how many there were, why they were dropped, and what helps."""
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
        """What to show of what was dropped for that reason."""
        return []


Output = TypeVar("Output", bound=StageOutput)
