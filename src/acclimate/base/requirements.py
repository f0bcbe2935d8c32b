"""Installed libraries that are older than acclimate needs, by the metadata of its own package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

_DEVELOPMENT = ("dev", "docs")


class Outdated(NamedTuple):
    """An installed library, the lowest version that acclimate works with, and the extra that needs it, if any."""

    name: str
    installed: str
    lowest: str
    extra: str

    def __str__(self) -> str:
        return f"{self.name} {self.lowest} or newer ({self.installed} is installed)"


def outdated(extra: str | None = None) -> Iterator[Outdated]:
    """Installed libraries that are too old for an extra; by default for acclimate and the extras that are installed."""
    try:
        package = metadata.metadata("acclimate")
    except metadata.PackageNotFoundError:  # used without being installed
        return
    optional = [name for name in package.get_all("Provides-Extra") or () if name not in _DEVELOPMENT]
    requirements = [*map(Requirement, package.get_all("Requires-Dist") or ())]
    for name in ["", *optional] if extra is None else [extra]:
        needed = [requirement for requirement in requirements if _belongs(requirement, name)]
        if name and not all(_installed(requirement) for requirement in needed):
            continue
        for requirement in needed:
            version, lowest = _installed(requirement), _lowest(requirement)
            if version and lowest and Version(version) < Version(lowest):
                yield Outdated(requirement.name, version, lowest, name)


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is that of an extra; of acclimate itself if that is empty."""
    return requirement.marker.evaluate({"extra": extra}) if requirement.marker else not extra


def _installed(requirement: Requirement) -> str | None:
    """The version that is installed, if any."""
    try:
        return metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None


def _lowest(requirement: Requirement) -> str | None:
    return next((bound.version for bound in requirement.specifier if bound.operator == ">="), None)
