"""What a run shows of itself: text for a terminal, a page for a browser or notebook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from acclimate.report.frame import framed


@dataclass(frozen=True)
class Page:
    """A page in a run's folder, and its content as text.

    >>> page = acclimate.open("run").inspect(sample=5)
    >>> page.path.name
    'queries.html'
    """

    text: str
    path: Path

    def __repr__(self) -> str:
        return f"Page({str(self.path)!r})"

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return framed(self.path.read_text(encoding="utf-8"))
