"""Samples of files (kind of content, names, first rows), by which formats are recognized.

A file's name only decides between formats that all match its content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from acclimate.base.errors import DataError
from acclimate.base.files import exists, open_bytes, read_lines
from acclimate.corpus.formats.data_files import LAST_SUFFIXES
from acclimate.corpus.formats.fields import NUMBER, as_json
from acclimate.corpus.formats.rows import cells_of, is_dataset, is_parquet, objects, whole_object

SPLITS = "dataset_dict.json"  # file in a folder of several saved data sets
ROWS = 50  # maximum rows of a sample

_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


class Sample(NamedTuple):
    """A folder with its file names; or objects (of any carrier), lists or lines, with the first of them."""

    kind: Literal["folder", "objects", "lists", "lines"]
    names: frozenset[str]  # keys or columns; names of files, and of data up to the first dot; cells of lines
    rows: list[Any]

    def __str__(self) -> str:
        if self.kind in ("lists", "lines"):
            return as_json(self.rows[0])
        return ", ".join(map(as_json, sorted(self.names)[:8])) + (", ..." if len(self.names) > 8 else "")

    @property
    def cells(self) -> list[list[str]]:
        """The cells of lines, tabs between."""
        return [line.split("\t") for line in self.rows] if self.kind == "lines" else []


class Has(NamedTuple):
    """Matches objects or a folder with all of these names, possibly alternatives (`query|question`), and none of
    others."""

    names: str
    without: str = ""
    is_folder: bool = False

    def __call__(self, sample: Sample) -> int:
        """Number of matching facts; 0 if it does not match."""
        names = self.names.split()
        if self.is_folder is not (sample.kind == "folder") or sample.kind == "lists":
            return 0
        if sample.names & set(self.without.split()):
            return 0
        return len(names) if all(sample.names & set(name.split("|")) for name in names) else 0


def look(path: Path) -> Sample:
    """Sample a file or folder. Raises DataError for an empty or missing one."""
    if not exists(path):
        open_bytes(path)
    if is_dataset(path) or is_parquet(path):
        return _objects([row for _, row in islice(objects(path), ROWS)])
    if exists(path / SPLITS):
        raise DataError("holds the splits of a saved data set; name the folder of one of them", path=path)
    if path.is_dir():
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        if not entries:
            raise DataError("an empty folder; expected the files of a format (acclimate convert --list)", path=path)
        data = [entry for entry in entries if entry.is_dir() or entry.suffix.lower() in LAST_SUFFIXES]
        stems = frozenset(entry.name.split(".")[0] for entry in data)  # a text such as queries.md names no format
        return Sample("folder", stems | frozenset(entry.name for entry in entries), [])
    lines = list(islice((line for _, line in read_lines(path) if line.strip()), ROWS))
    if not lines:
        raise DataError("an empty file; expected records", path=path)
    if lines[0].lstrip()[:1] not in ("{", "["):
        return Sample("lines", frozenset(cells_of(lines[0])), lines)
    try:
        rows = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):  # a value spanning several lines, or a broken one
        rows = (
            [whole_object(path)] if lines[0].strip() in ("{", "[") else [row for _, row in islice(objects(path), ROWS)]
        )
    if isinstance(rows[0], list):
        if not rows[0] or isinstance(rows[0][0], dict):
            next(objects(path))  # raises with advice on a list of objects
        return Sample("lists", frozenset(), rows)
    return _objects([row for row in rows if isinstance(row, dict)])


def _objects(rows: list[dict[str, Any]]) -> Sample:
    return Sample("objects", frozenset(rows[0]) if rows else frozenset(), rows)


def is_generated(sample: Sample) -> int:
    """Matches a folder with queries under a prefix, as written by GPL."""
    return 3 * int(sample.kind == "folder" and any(name.endswith("-queries.jsonl") for name in sample.names))


def is_nemo(sample: Sample) -> int:
    """Matches an object with a corpus and data; or a folder with train.json and no other table of PyLate's."""
    if sample.kind == "folder":
        return 2 * int("train.json" in sample.names and "documents" not in sample.names)
    return Has("corpus data")(sample)


def is_list(shape: Callable[[list[Any]], bool], *, facts: int = 1) -> Callable[[Sample], int]:
    """Matches lists of this shape."""

    def matches(sample: Sample) -> int:
        fit = all(isinstance(row, list) and len(row) > 1 and shape(row) for row in sample.rows)
        return facts if sample.kind == "lists" and fit else 0

    return matches


def is_run(sample: Sample) -> int:
    """Matches six words, the fourth a rank, the fifth a score."""
    words = _words(sample)
    return int(bool(words) and all(len(row) == 6 and row[3].isdecimal() and NUMBER.fullmatch(row[4]) for row in words))


def is_qrels(sample: Sample) -> int:
    """Matches four words, the second always the same number, the last a grade."""
    words = _words(sample)
    if not words or any(len(row) != 4 or not re.fullmatch(r"[+-]?[0-9]{1,9}", row[3]) for row in words):
        return 0
    return int(len({row[1] for row in words}) == 1 and re.fullmatch(r"Q?[0-9]+", words[0][1]) is not None)


def is_ranking(sample: Sample) -> int:
    """Matches three or four cells, the third counting from 1 for each query."""
    ranks: dict[str, int] = {}
    for row in sample.cells:
        if len(row) not in (3, 4) or row[2] != str(ranks.get(row[0], 0) + 1) or " " in row[1].strip():
            return 0
        ranks[row[0]] = int(row[2])
    return int(bool(ranks))


def is_margins(sample: Sample) -> int:
    """Matches four cells, the last a number (or NaN, infinite), not always whole."""
    cells = sample.cells
    return int(
        bool(cells)
        and all(len(row) == 4 and (NUMBER.fullmatch(row[3]) or _NO_NUMBER.fullmatch(row[3])) for row in cells)
        and any(not row[3].lstrip("+-").isdecimal() for row in cells)
        and not is_ranking(sample)
    )


def is_pairs(sample: Sample) -> int:
    """Matches three cells, the last 0 or 1, with words in the passages."""
    cells = sample.cells
    return int(bool(cells) and all(len(row) == 3 and row[2] in ("0", "1") for row in cells) and _has_texts(cells))


def is_triples(sample: Sample) -> int:
    """Matches three cells, or more with quoting; words in the second and third, and a query that is not an id."""
    cells = sample.cells
    fits = bool(cells) and all(len(row) == 3 or '"' in line for row, line in zip(cells, sample.rows, strict=True))
    queries = [row[0] for row in cells]
    is_query = len(set(queries)) < len(queries) or any(" " in query.strip() for query in queries)
    return int(fits and is_query and _has_texts(cells) and not is_pairs(sample))


def is_ids(sample: Sample) -> int:
    """Matches three or more cells without blanks."""
    cells = sample.cells
    return int(
        bool(cells)
        and all(len(row) > 2 and not any(" " in cell for cell in row) for row in cells)
        and not (is_ranking(sample) or is_margins(sample) or is_qrels(sample) or is_run(sample))
    )


def are_texts(sample: Sample) -> bool:
    """True for two or three cells, the first an id, the second a text."""
    cells = sample.cells
    return (
        bool(cells)
        and all(len(row) == len(cells[0]) and len(row) in (2, 3) for row in cells)
        and not any(" " in row[0] for row in cells)
        and (len(cells[0]) == 2 or _has_texts(cells))
        and not is_pairs(sample)
        and not is_ranking(sample)
    )


def is_texts(sample: Sample) -> int:
    """Matches as `are_texts`, with distinct ids."""
    return int(are_texts(sample) and len({row[0] for row in sample.cells}) == len(sample.cells))


def _has_texts(cells: list[list[str]]) -> bool:
    """True if the second column has words."""
    return any(len(row) > 1 and " " in row[1].strip() for row in cells)


def _words(sample: Sample) -> list[list[str]]:
    return [line.split() for line in sample.rows] if sample.kind == "lines" else []
