"""Paths passed by programs: what cannot be one is refused under the argument's own name."""

from __future__ import annotations

import os
from os import PathLike, fspath
from pathlib import Path

from acclimate.base.errors import SettingError
from acclimate.base.text import quoted

StrPath = str | PathLike[str]

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, of file systems


def path_text(value: StrPath, name: str) -> str:
    """A path as text. Raises SettingError, which names the argument, for what no system has as one."""
    if not isinstance(value, str | PathLike) or not isinstance(text := fspath(value), str):
        raise SettingError(f"{name} is {quoted(value)}; expected a path")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        raise SettingError(f"{name} is {quoted(text)}, which is not UTF-8; expected a path") from None
    if b"\0" in encoded:
        raise SettingError(f"{name} is {quoted(text)}, which has a zero byte; expected a path")
    longest = max(map(len, encoded.split(b"/")))
    if longest > _LONGEST_NAME or len(encoded) > _LONGEST_PATH:
        n_bytes, most = (longest, _LONGEST_NAME) if longest > _LONGEST_NAME else (len(encoded), _LONGEST_PATH)
        raise SettingError(f"{name} has a name of {n_bytes:,} bytes: {quoted(text)}; expected at most {most:,}")
    return text


def path_of(value: StrPath, name: str) -> Path:
    """`path_text` as a Path."""
    return Path(path_text(value, name))


def run_folder(value: StrPath) -> Path:
    """The folder of a run, as a Path. Raises SettingError also for an empty one, which would be the current folder."""
    if not (text := path_text(value, "folder")):
        raise SettingError("folder is empty; expected the folder of a run")
    return Path(text)
