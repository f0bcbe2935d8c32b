"""The table of `against_inpars.py`: the result of each stage, and its cost on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from watched import Usage


class Row(NamedTuple):
    """A stage: what was compared, the result, and the cost of the toolkit and of acclimate."""

    stage: str
    finding: str
    toolkit: Usage | None = None
    ours: Usage | None = None


def table(rows: Sequence[Row], name: str) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"| {name} | what was found | CPU seconds, toolkit / acclimate | MB at most |"
    yield "|---|---|---|---|"
    for row in rows:
        cpu = memory = ""
        if row.toolkit and row.ours:
            ratio = row.toolkit.cpu_seconds / row.ours.cpu_seconds
            cpu = f"{row.toolkit.cpu_seconds:.1f} / {row.ours.cpu_seconds:.1f} = {ratio:.1f}"
            memory = f"{row.toolkit.megabytes:,.0f} / {row.ours.megabytes:,.0f}"
        yield f"| {row.stage} | {row.finding} | {cpu} | {memory} |"
