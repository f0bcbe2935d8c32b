"""Prints the lowest version of each dependency that pyproject.toml accepts, as pip's constraints; for `make lowest`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def lowest_versions() -> list[str]:
    """One `name==version` for each dependency, extras for development included."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = sorted({*project["dependencies"], *project["optional-dependencies"]["dev"]})
    return [re.sub(r"(\[.*\])?>=", "==", requirement) for requirement in requirements]


if __name__ == "__main__":
    print("\n".join(lowest_versions()))
