"""Which process of a run this is, as `torchrun` and `accelerate launch` number them in the environment."""

from __future__ import annotations

import os

from acclimate.base.errors import SettingError


def rank() -> int:
    """The number of this process, from 0. A RANK without other processes is some batch system's own number."""
    return number("RANK", 0) if size() > 1 else 0


def size() -> int:
    """The number of processes."""
    return number("WORLD_SIZE", 1)


def is_main() -> bool:
    """True in the first process, which does everything but training alone."""
    return rank() == 0


def check() -> None:
    """Raise SettingError for a number that no process of the run has: the others would never wait for this one."""
    if rank() >= size():
        raise SettingError(
            f"RANK is {rank()} and WORLD_SIZE is {size()}; expected a RANK from 0 to {size() - 1}. Start with "
            "torchrun, or unset WORLD_SIZE for a process of its own"
        )


def number(name: str, default: int) -> int:
    """The number that this environment variable holds."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
