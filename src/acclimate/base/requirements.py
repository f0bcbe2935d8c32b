"""Installed libraries that are older than acclimate needs, by the metadata of its own package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

_DEVELOPMENT = ("dev", "docs")


class Outdated(NamedTuple):
    """An installed library, and the lowest version that acclimate works with."""

    name: str
    installed: str
    lowest: str

    def __str__(self) -> str:
        return f"{self.name} {self.lowest} or newer ({self.installed} is installed)"


def outdated(extra: str = "") -> Iterator[Outdated]:
    """Installed libraries that are too old: those of one extra, or of acclimate itself and every extra for users."""
    try:
        package = metadata.metadata("acclimate")
    except metadata.PackageNotFoundError:  # used without being installed
        return
    optional = [name for name in package.get_all("Provides-Extra") or () if name not in _DEVELOPMENT]
    extras = [extra] if extra else ["", *optional]
    for requirement in map(Requirement, package.get_all("Requires-Dist") or ()):
        if any(_belongs(requirement, name) for name in extras):
            yield from _too_old(requirement)


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is that of an extra; of acclimate itself if that is empty."""
    return requirement.marker.evaluate({"extra": extra}) if requirement.marker else not extra


def _too_old(requirement: Requirement) -> Iterator[Outdated]:
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return
    for bound in requirement.specifier:
        if bound.operator == ">=" and Version(installed) < Version(bound.version):
            yield Outdated(requirement.name, installed, bound.version)
