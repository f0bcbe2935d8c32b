"""Data sets on the Hugging Face hub: hf:OWNER/NAME[@REVISION][/PATH of a file or folder]."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import exists
from acclimate.base.text import quoted, reason_of

PREFIX = "hf:"

_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<path>[^/].*))?")


def is_on_hub(name: str) -> bool:
    """True for a name of a data set on the hub."""
    return name.startswith(PREFIX)


def download(name: str) -> Path:
    """Download a file or folder of a data set, or find it in the hub's cache; returns its path.

    Raises SettingError for a malformed name, and DataError if the download fails or the data set has no such path.
    """
    from huggingface_hub import snapshot_download

    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not match or ".." in name:
        raise SettingError(f"{quoted(name)} names no data set; expected hf:OWNER/NAME, or hf:OWNER/NAME/PATH/OF/FILE")
    repo, revision, path = match.group("repo", "revision", "path")
    path = (path or "").rstrip("/")
    patterns = [glob.escape(path), f"{glob.escape(path)}/*"] if path else None  # no name tells a file from a folder
    try:
        folder = Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except Exception as error:  # from the hub, the network or the disk
        raise DataError(f"the data set could not be downloaded: {reason_of(error)}", path=name) from error
    if not exists(folder / path):
        raise DataError(f"the data set has no {path}; expected a file or folder of it", path=name)
    return folder / path
