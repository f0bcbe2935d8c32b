"""Parts of a corpus as NumPy arrays, for engines that a client loads: `part-00000.npz`, and a `.jsonl` beside it.

Of each document `number` (the place of its id among all sorted ids); of a dense member NAME the vectors (n, dim); of
late interaction NAME.tokens (n_tokens, dim) int8, NAME.scales and NAME.starts (n + 1,): a token's vector is its scale
times its row; of a lexical member NAME.terms, NAME.weights and NAME.starts. The lines have number, id, document, title
and text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.base.files import atomic_write, read_jsonl, write_jsonl
from acclimate.deploy.exports.postings import Rows, by_document, postings_of
from acclimate.deploy.exports.source import LEXICAL, Part, Source
from acclimate.search.members import DenseMember, LateInteractionMember

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = dict[str, "NDArray[Any]"]


def parts(source: Source, folder: Path) -> Iterator[tuple[Part, Arrays]]:
    """The corpus part by part with its arrays. folder: where entries are sorted meanwhile."""
    with ExitStack() as stack:
        lexical = {
            name: stack.enter_context(by_document(postings_of(source.system.members[name]), len(source.corpus), folder))
            for name, kind in source.kinds.items()
            if kind in LEXICAL
        }
        for part in source.parts():
            yield part, _arrays(source, part, lexical)


def _arrays(source: Source, part: Part, lexical: dict[str, Rows]) -> Arrays:
    arrays: Arrays = {"number": source.numbers[part.start : part.rows.stop]}
    for name in source.members:
        member = source.system.members[name]
        if isinstance(member, DenseMember):
            arrays[name] = np.asarray(member.vectors.pooled[part.start : part.rows.stop], np.float32)
        elif isinstance(member, LateInteractionMember):
            starts = np.asarray(member.vectors.offsets[part.start : part.rows.stop + 1])
            span = slice(starts[0], starts[-1])
            arrays[f"{name}.tokens"] = np.asarray(member.vectors.tokens[span])
            arrays[f"{name}.scales"] = np.asarray(member.vectors.scales[span])
            arrays[f"{name}.starts"] = starts - starts[0]
        else:
            rows = lexical[name].of(part.rows)
            arrays |= {f"{name}.{field}": value for field, value in rows._asdict().items()}
    return arrays


def documents(source: Source, part: Part, numbers: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """What is kept of each document beside its vectors."""
    for number, doc in zip(numbers.tolist(), part.docs, strict=True):
        document = source.document(doc.doc_id)
        yield {"number": number, "id": doc.doc_id, "document": document, "title": doc.title, "text": doc.text}


def write(source: Source, folder: Path) -> int:
    """Write the parts that are not there; returns how many documents all have, as read back."""
    for part, arrays in parts(source, folder):
        path = folder / f"part-{part.number:05}.npz"
        if not path.exists():
            write_jsonl(path.with_suffix(".jsonl"), documents(source, part, arrays["number"]))
            with atomic_write(path) as partial, partial.open("wb") as sink:
                np.savez(sink, allow_pickle=False, **arrays)
    return sum(len(rows) for rows, _ in read(folder))


def read(folder: Path) -> Iterator[tuple[list[dict[str, Any]], Arrays]]:
    """Part by part, documents and arrays. Raises ValueError for a part whose files are of different documents."""
    for path in sorted(folder.glob("part-*.npz")):
        rows = [row for _, row in read_jsonl(path.with_suffix(".jsonl"))]
        with np.load(path) as arrays:
            if [row["number"] for row in rows] != arrays["number"].tolist():
                raise ValueError(f"{path} and the .jsonl beside it are of different documents")
            yield rows, dict(arrays)


def token_vectors(arrays: Arrays, name: str, place: int) -> NDArray[np.float32]:
    """(n_tokens, dim) of a document in a part, unit length."""
    span = slice(*arrays[f"{name}.starts"][place : place + 2])
    return arrays[f"{name}.tokens"][span].astype(np.float32) * arrays[f"{name}.scales"][span, None]
