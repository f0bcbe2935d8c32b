"""Jupyter notebooks: their Markdown, and their code as blocks of it, in order.

Raw cells, which are meant for converters, and results, which often are pictures or long tables, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError
from acclimate.base.files import read_json
from acclimate.corpus.formats.markdown import main_heading, without_comments

_TICKS = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)


def read_notebook(path: Path) -> tuple[list[str], str]:
    """(its heading, text). Raises DataError for anything else."""
    notebook = read_json(path)
    if not isinstance(notebook, dict) or not isinstance(cells := _cells(notebook), list):
        raise DataError("is no notebook: it has no list of cells", path=path)
    text = "\n\n".join(filter(None, map(_text, cells)))
    return [main_heading(text)], without_comments(text)


def _cells(notebook: dict[str, Any]) -> Any:
    """The cells; those before version 4 of the format are in a sheet."""
    match notebook:
        case {"worksheets": [{"cells": cells}, *_]} | {"cells": cells}:
            return cells
    return None


def _text(cell: Any) -> str:
    """A cell as Markdown; "" for one without text."""
    match cell:
        case {"cell_type": "markdown", "source": source}:
            return _joined(source).strip("\r\n")
        case {"cell_type": "heading", "source": source, "level": int(level)}:
            return f"{'#' * level} {_joined(source).strip()}"
        case {"cell_type": "code", "source": source} | {"cell_type": "code", "input": source}:
            code = _joined(source).strip("\r\n")
            fence = max(("```", *(f"{ticks}`" for ticks in _TICKS.findall(code))), key=len)
            return f"{fence}\n{code}\n{fence}" if code.strip() else ""
    return ""


def _joined(source: Any) -> str:
    """A text, or its lines."""
    return "".join(_strings(source))


def _strings(source: Any) -> Iterator[str]:
    for part in source if isinstance(source, list) else [source]:
        if isinstance(part, str):
            yield part
