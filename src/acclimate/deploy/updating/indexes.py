"""Updating indexes: rows of unchanged documents are copied from the present indexes, the rest is encoded.

`rows` gives the source of each new row: a number below the length of the present index is a row of it, a higher one
counts through the fresh documents.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acclimate.base.files import write_json
from acclimate.records import Doc
from acclimate.run.run import Run
from acclimate.run.updated import TERMS
from acclimate.search import approximate
from acclimate.search.encoder import Encoder
from acclimate.search.sparse import Head, SparseIndex, build, index_key
from acclimate.search.students import Students, own_dense_vectors
from acclimate.search.term_counts import TermCounts, places_of
from acclimate.search.vectors import Vectors, arrays_of, create_arrays, cut_vectors, encode_corpus, flush
from acclimate.stages.distill import Distilled

_ROWS_AT_ONCE = 4096  # copied


def index(
    run: Run, distilled: Distilled | None, fresh: Mapping[str, Doc], rows: NDArray[np.int64], folder: Path
) -> None:
    """Write updated indexes of the stages `index` and `distill` into `folder`.

    fresh: new and changed documents. rows: (n,) source of each row.
    """
    exact_up_to = run.settings["index"]["exact_up_to"]
    approximate.check(len(rows), exact_up_to)
    scratch = folder / "fresh"
    _bm25(run, fresh, rows, folder)
    base = _vectors(run.base.encoder, run.base.vectors, fresh, rows, folder / "vectors", scratch / "vectors")
    students = None if distilled is None else distilled.students(run)
    for kind, note in students.notes.items() if students else ():
        assert students is not None
        vectors = base
        if kind == "sparse":
            for name in ("sparse-start", *([] if note["keeps_index"] else [kind])):
                _sparse(
                    students, name, Vectors.open(scratch / "vectors") if fresh else None, base, rows, folder, scratch
                )
        elif not note["keeps_index"]:
            into = folder / f"{kind}-vectors"
            vectors = _vectors(students.encoder(kind), students.vectors(kind), fresh, rows, into, scratch / kind)
        if note.get("dim"):
            cut_vectors(vectors, note["dim"], folder / f"{kind}-cut")
    shutil.rmtree(scratch, ignore_errors=True)
    for vectors_folder in filter(None, (folder / "vectors", own_dense_vectors(folder))):
        approximate.index(vectors_folder, is_wanted=len(rows) > exact_up_to)


def _bm25(run: Run, fresh: Mapping[str, Doc], rows: NDArray[np.int64], folder: Path) -> None:
    """Write the BM25 index. The first update stores the term counts of all documents; later ones extend them."""
    analyzer, settings = run.base.bm25.analyzer, run.settings["index"]
    counted = run.folder("index") / TERMS
    if counted.is_dir():
        counts = TermCounts.open(counted)
    else:
        counts = TermCounts.of((doc.default_text() for doc in run.input.corpus.values()), analyzer)
    counts = counts.concat(TermCounts.of((doc.default_text() for doc in fresh.values()), analyzer)).select(rows)
    counts.save(folder / TERMS)
    counts.bm25(analyzer, k1=settings["k1"], b=settings["b"]).save(folder / "bm25")


def _vectors(
    encoder: Encoder, now: Vectors, fresh: Mapping[str, Doc], rows: NDArray[np.int64], folder: Path, scratch: Path
) -> Vectors:
    sources = [now]
    if fresh:
        sources.append(encode_corpus(encoder, fresh, scratch, tokens_as=now.token_format))
    return joined(sources, rows, folder)


def joined(sources: list[Vectors], rows: NDArray[np.int64], folder: Path) -> Vectors:
    """Write the vectors of these rows to `folder`; row numbers count through the concatenated sources."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.concatenate([np.diff(source.offsets) for source in sources])[rows]
    first, has_tokens = sources[0], bool(len(sources[0].tokens))
    token_dim = first.tokens.shape[1] if has_tokens else 0
    create_arrays(folder, first.pooled.shape[1], lengths.tolist(), token_dim, first.token_format)
    pooled, tokens, scales, _ = arrays_of(folder, "r+")
    ends = np.concatenate([[0], np.cumsum(lengths)])
    bounds = np.cumsum([0, *(len(source.pooled) for source in sources)])
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        for source, low, high in zip(sources, bounds[:-1], bounds[1:], strict=True):
            is_its = np.flatnonzero((block >= low) & (block < high))
            of_source = block[is_its] - low
            pooled[start + is_its] = source.pooled[of_source]
            if has_tokens:
                places, _ = places_of(source.offsets, of_source)
                targets, _ = places_of(ends, start + is_its)
                tokens[targets], scales[targets] = source.tokens[places], source.scales[places]
    flush(pooled, tokens, scales)
    write_json(folder / "done.json", {"joined": len(rows)})
    return Vectors.open(folder)


def _sparse(
    students: Students,
    name: str,
    fresh: Vectors | None,
    base: Vectors,
    rows: NDArray[np.int64],
    folder: Path,
    scratch: Path,
) -> None:
    """Write the inverted index of a sparse student."""
    head, n_vocabulary = Head.open(students.folder / name)
    indexes = [SparseIndex.open(students.indexes / f"{name}-index")]
    if fresh is not None:
        max_active_dims = students.max_active_dims
        indexes.append(build(fresh, head, n_vocabulary, scratch / name, max_active_dims=max_active_dims))
    place = np.full(sum(index.n_docs for index in indexes), -1, np.int64)
    place[rows] = np.arange(len(rows))
    tokens, documents, weights = (np.concatenate(parts) for parts in zip(*map(_entries, indexes), strict=True))
    first_rows = np.repeat(
        np.cumsum([0, *(index.n_docs for index in indexes[:-1])]), [len(i.documents) for i in indexes]
    )
    documents = place[documents + first_rows]
    order = np.flatnonzero(documents >= 0)
    order = order[np.lexsort((documents[order], tokens[order]))]
    starts = np.concatenate([[0], np.cumsum(np.bincount(tokens[order], minlength=n_vocabulary))]).astype(np.int64)
    key = index_key(head, len(rows), len(base.tokens), students.max_active_dims)
    joined = SparseIndex(starts, documents[order].astype(np.int32), weights[order], len(rows), key)
    joined.write(folder / f"{name}-index")


def _entries(index: SparseIndex) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """(token, document, weight) of each posting."""
    tokens = np.repeat(np.arange(len(index.starts) - 1), np.diff(index.starts))
    return tokens, np.asarray(index.documents), np.asarray(index.weights)
