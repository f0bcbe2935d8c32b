"""A run's report as a Python object: attributes, tables as data frames, and a page for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from acclimate.base.content import Content
from acclimate.base.errors import DataError, unknown
from acclimate.base.files import read_json
from acclimate.base.text import command
from acclimate.measure.compare import Comparison
from acclimate.measure.measures import MAIN
from acclimate.measure.rows import data_frame
from acclimate.report import sentences
from acclimate.report.frame import framed

if TYPE_CHECKING:
    from pandas import DataFrame

_FIELDS = {  # fields that a report.json must have
    "verdict": str,
    "verdict_basis": str,
    "recommended": str,
    "systems": list,
    "comparisons": list,
    "stages": list,
    "warnings": list,
}
_TABLES = ("systems", "steps", "comparisons", "stages")


class MeasuredSystem(NamedTuple):
    """A system and its measures, means over all queries.

    >>> next(system.kind for system in acclimate.open("run").report.systems if system.name == "bm25")
    'bm25'
    """

    name: str
    adapted: bool  # True if some part was trained
    kind: str  # bm25, dense, late-interaction, sparse, static, hybrid, reranked or run
    measures: dict[str, float]  # nDCG@10 and others, in [0, 1]
    intervals: dict[str, tuple[float, float]]  # 95% intervals of the same
    latency_ms: dict[str, float]  # p50 and p95 of single queries
    index_bytes: int
    weights: dict[str, float]  # of its members; empty for reciprocal rank fusion
    untouched: bool = False  # True for what exists before adapting: bm25, dense, hybrid and a provided run


class Report(Content):
    """The report of a run: a mapping with the content of `report.json`, its main fields as attributes.

    `print` shows it as the command line does, a notebook shows its page.

    >>> report = acclimate.open("run").report
    >>> report.verdict, report["seed"]
    ('NO DIFFERENCE', 0)
    >>> report.comparisons[0].measure
    'nDCG@10'
    """

    def __init__(self, content: Mapping[str, Any], folder: Path) -> None:
        super().__init__(content)
        self.folder = folder

    @classmethod
    def read(cls, folder: Path) -> Report:
        """Read the report of a run's folder. Raises DataError if it is missing or damaged."""
        path, again = folder / "report.json", f"write it again with: {command('report', folder)}"
        if not path.is_file():
            raise DataError(f"no report here; {again}", path=path)
        content = read_json(path)
        for name, kind in _FIELDS.items():
            if not isinstance(content, dict) or not isinstance(content.get(name), kind):
                raise DataError(f"no report of a run: {name!r} is missing or invalid; {again}", path=path)
        return cls(content, folder)

    @property
    def verdict(self) -> str:
        """WIN, NO DIFFERENCE or REGRESSION: the candidate against the best system that existed before the run."""
        return self["verdict"]

    @property
    def verdict_basis(self) -> str:
        """The basis of the verdict: qrels (people's), judge (an LLM's grades), or synthetic queries, which are too
        favorable."""
        return self["verdict_basis"]

    @property
    def verdict_note(self) -> str:
        """How far to trust the verdict, if it does not rest on people's judgments."""
        return self.get("verdict_note", sentences.trust(self))

    @property
    def recommended(self) -> str:
        """The name of the system to serve."""
        return self["recommended"]

    @property
    def warnings(self) -> list[str]:
        """What to know before believing the rest."""
        return self["warnings"]

    @property
    def systems(self) -> list[MeasuredSystem]:
        """Every system, by nDCG@10, best first."""
        rows = [MeasuredSystem(**row) for row in self["systems"]]
        return sorted(rows, key=lambda system: (-system.measures[MAIN], system.name))

    @property
    def comparisons(self) -> list[Comparison]:
        """Each system of the run against the baseline and against its origin, by measure."""
        return [
            Comparison(**{**row, "ci95": tuple(row["ci95"])}, queries=row["wins"] + row["losses"] + row["ties"])
            for row in self["comparisons"]
        ]

    def to_frame(self, table: Literal["systems", "steps", "comparisons", "stages"] = "systems") -> DataFrame:
        """One of the tables as a pandas data frame.

        Raises SettingError for an unknown table, and MissingExtra without pandas.

        >>> list(acclimate.open("run").report.to_frame("comparisons").columns[:4])
        ['system', 'baseline', 'measure', 'delta']
        """
        if table not in _TABLES:
            raise unknown("table", table, _TABLES)
        if table == "comparisons":
            return data_frame(self.comparisons)
        if table == "steps":
            return data_frame([_flat(step) for step in self.get("steps", [])])
        rows = [system._asdict() for system in self.systems] if table == "systems" else self["stages"]
        return data_frame([_flat({"name": row["name"], **row}) for row in rows])

    def __repr__(self) -> str:
        return f"<Report of {str(self.folder)!r}: {sentences.verdict(self)}; serve {self.recommended}>"

    def __str__(self) -> str:
        from acclimate.report import terminal

        return terminal.text(self)

    def _repr_html_(self) -> str:
        from acclimate.report.html import render

        return framed(render(self))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its measures as columns, and with other nested values in columns prefixed by their name."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name == "measures":
            flat |= value
        elif isinstance(value, dict) and name in ("latency_ms", "tokens", "index_bytes"):
            flat |= {f"{name}_{part}": amount for part, amount in value.items()}
        else:
            flat[name] = value
    return flat
