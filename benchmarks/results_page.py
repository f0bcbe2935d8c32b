"""Pages of docs/ as benchmarks write them: tables in Markdown, each section between marks of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from acclimate.base.errors import AcclimateError

PAGE = Path(__file__).parents[1] / "docs" / "results.md"


def write_section(name: str, text: str, page: Path | None = None) -> None:
    """Put `text` between the marks of the section; page: None for that of results. Raises AcclimateError for a page
    without them."""
    page = page or PAGE
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, mark, rest = page.read_text(encoding="utf-8").partition(begin)
    if not mark or end not in rest:
        raise AcclimateError(f"{page} has no place for the table; add the lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
