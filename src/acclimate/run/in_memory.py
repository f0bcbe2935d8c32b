"""Documents that a program has in memory, which a run reads from a file in its folder, as it does any others.

So whatever holds of a file holds of them: the same documents give the same fingerprints, readers say what is wrong with
one, and the run resumes from its folder alone.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any

from acclimate.base.arguments import StrPath, path_text
from acclimate.base.errors import SettingError
from acclimate.base.files import make_folder, write_lines
from acclimate.base.text import quoted
from acclimate.records import Doc

Documents = Iterable[Doc | Mapping[str, Any]]


def name_of(corpus: StrPath | Documents, folder: Path, argument: str = "corpus") -> str:
    """The name of a collection; of documents in memory, that of the file in a run's folder that `write` writes.

    Raises SettingError, which names the argument, for anything else.
    """
    if isinstance(corpus, str | bytes | PathLike) or not isinstance(corpus, Iterable):
        return path_text(corpus, argument)
    return str(folder / "corpus" / "documents.jsonl")


def write(corpus: StrPath | Documents, name: str) -> None:
    """Write documents in memory, one by one, to the file of that name; nothing where they have a name already."""
    if not isinstance(corpus, str | PathLike):
        make_folder(Path(name).parent)
        write_lines(Path(name), _lines(corpus))


def _lines(documents: Documents) -> Iterator[str]:
    for number, document in enumerate(documents, 1):
        row = document._asdict() if isinstance(document, Doc) else document
        if not isinstance(row, Mapping):
            raise SettingError(
                f"document {number:,} is {quoted(row)}; expected acclimate.Doc, or a dict with _id and text"
            )
        try:
            plain = {str(name): _plain(value, f"document {number:,}: {name}") for name, value in row.items()}
            yield json.dumps(plain)  # ASCII: a half surrogate pair is for the reader to refuse
        except (RecursionError, ValueError) as error:  # it contains itself, or has a number of thousands of digits
            raise SettingError(f"document {number:,} cannot be written as JSON: {error}") from None


def _plain(value: Any, what: str) -> Any:
    """As JSON has it; None for what is missing, such as nan for a title. Raises SettingError for what JSON lacks."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each, what) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, what) for each in value]
    if _is_missing(value):
        return None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not hasattr(value, "tolist"):  # of NumPy
        raise SettingError(f"{what} is {quoted(value)}; expected text, a number, a date, or a list or dict of these")
    return _plain(value.tolist(), what)


def _is_missing(value: Any) -> bool:
    """True for None, and for what pandas has in its place."""
    pandas = sys.modules.get("pandas")  # not imported: then the value is none of its
    return value is None or (pandas is not None and (value is pandas.NA or value is pandas.NaT))
