"""Parts of a corpus as NumPy arrays, for engines that a client loads: `part-00000.npz`, and a `.jsonl` beside it.

The arrays hold `number` for each document (the place of its id among all sorted ids); vectors (n, dim) for a dense
member NAME; NAME.tokens (n_tokens, dim) int8, NAME.scales and NAME.starts (n + 1,) for late interaction, where a
token's vector is its scale times its row; NAME.terms, NAME.weights and NAME.starts for a lexical member. The lines hold
number, id, document, title and text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base.files import atomic_write, read_jsonl, write_jsonl
from acclimate.deploy.exports.postings import Rows, by_document, postings_of
from acclimate.deploy.exports.source import DENSE, LATE_INTERACTION, LEXICAL, Part, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = dict[str, "NDArray[Any]"]


def parts(source: Source, folder: Path) -> Iterator[tuple[Part, Arrays]]:
    """Each part of the corpus with its arrays. folder: for temporary files, in which postings are sorted."""
    with ExitStack() as stack:
        lexical = {
            name: stack.enter_context(by_document(postings_of(source.system.members[name]), len(source.corpus), folder))
            for name, kind in source.kinds.items()
            if kind in LEXICAL
        }
        for part in source.parts():
            yield part, _arrays(source, part, lexical)


def _arrays(source: Source, part: Part, lexical: dict[str, Rows]) -> Arrays:
    arrays: Arrays = {"number": source.numbers[part.span]}
    for name, kind in source.kinds.items():
        if kind == DENSE:
            arrays[name] = source.dense_vectors(name, part)
        elif kind == LATE_INTERACTION:
            starts, tokens, scales = source.token_vectors(name, part)
            arrays |= {f"{name}.tokens": tokens, f"{name}.scales": scales, f"{name}.starts": starts}
        else:
            rows = lexical[name].of(part.span)
            arrays |= {f"{name}.{field}": value for field, value in rows._asdict().items()}
    return arrays


def write(source: Source, folder: Path) -> int:
    """Write the missing parts; returns the number of documents in all parts, as read back."""
    for part, arrays in parts(source, folder):
        path = folder / f"part-{part.number:05}.npz"
        if not path.exists():
            write_jsonl(path.with_suffix(".jsonl"), (document._asdict() for document in part.documents))
            with atomic_write(path) as partial, partial.open("wb") as sink:
                named: dict[str, Any] = {**arrays}
                np.savez(sink, **named)  # numbers only, so nothing is pickled
    return sum(len(rows) for rows, _ in read(folder))


def read(folder: Path) -> Iterator[tuple[list[dict[str, Any]], Arrays]]:
    """Documents and arrays of each part. Raises ValueError for a part whose two files do not belong together."""
    for path in sorted(folder.glob("part-*.npz")):
        rows = [row for _, row in read_jsonl(path.with_suffix(".jsonl"))]
        with np.load(path) as arrays:
            if [row["number"] for row in rows] != arrays["number"].tolist():
                raise ValueError(f"{path} and the .jsonl beside it are of different documents")
            yield rows, dict(arrays)


def token_vectors(arrays: Arrays, name: str, place: int) -> NDArray[np.float32]:
    """(n_tokens, dim) unit vectors of the document at a place in a part."""
    span = slice(*arrays[f"{name}.starts"][place : place + 2])
    return arrays[f"{name}.tokens"][span].astype(np.float32) * arrays[f"{name}.scales"][span, None]
