"""Scripts that search an export, copied into it; the export is checked with the same code."""

import sys
from collections.abc import Iterable

from acclimate.base.text import single_spaced
from acclimate.report.formatting import excerpt


def arguments(usage: str | None, minimum: int, maximum: int) -> list[str]:
    """The script's arguments. Raises SystemExit with the usage unless there are `minimum` to `maximum` of them."""
    words = sys.argv[1:]
    if not minimum <= len(words) <= maximum:
        raise SystemExit(usage)
    return words


def show(hits: Iterable[tuple[str, float, str, str]]) -> None:
    """Print (id, score, title, text) of documents, without control characters."""
    for document, score, title, text in hits:
        print(f"{score:8.4f}  {single_spaced(document)}  {single_spaced(title)}\n          {excerpt(text, 200)}")
