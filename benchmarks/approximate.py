"""Approximate against exact vector search: recall, speed, memory and disk.

    python benchmarks/approximate.py RUN... --queries QUERIES.jsonl...            100k and 1M vectors
    python benchmarks/approximate.py RUN... --queries ... --docs 100000 --write   and the table into docs/scale.md

The vectors are those of the runs' indexes, which must be of one encoder, and as many as are missing are made of them:
each a vector moved by up to half the way towards one of its ten nearest, with noise of a quarter of its length, drawn
by a seed. So neighborhoods are as dense as many more documents make them, though no text has such a vector. Queries are
texts of the files (BEIR's queries.jsonl), as the runs' encoder sees them: nothing is moved. Recall is the share of the
hundred nearest that are found. Queries per second are of one thread, and of the processor's time, with everything in
memory. Memory is a process' own (RssAnon), at most: mapped files are not in it. What was measured is kept under
bench-run/approximate; remove a folder of it to measure again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results_page import table, write_section

from acclimate.base.files import read_json, read_jsonl, write_json
from acclimate.search.approximate import DEPTH, ApproximateIndex
from acclimate.search.measuring import recall
from acclimate.search.vectors import Vectors, create_arrays

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"
QUERIES = 300
TOGETHER = 16  # queries per block of documents in exact search, as in runs
ROWS = 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN")
    parser.add_argument("--queries", type=Path, nargs="+", default=[], metavar="FILE")
    parser.add_argument("--docs", default="100000,1000000", help="numbers of vectors, by commas")
    parser.add_argument("--base", default="embedded:all-minilm-l6-v2", help="the runs' encoder")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-run" / "approximate")
    parser.add_argument("--write", action="store_true", help="write the table to docs/scale.md")
    arguments = parser.parse_args()
    for n_docs in map(int, arguments.docs.split(",")) if arguments.runs else ():
        folder = arguments.out / str(n_docs)
        if not (folder / "measured.json").exists():
            make_vectors(arguments.runs, n_docs, folder)
            np.save(folder / "queries.npy", encoded(arguments.queries, arguments.base))
            measured = {measure.__name__: apart(measure, folder) for measure in (build, approximate, exact)}
            write_json(folder / "measured.json", measured)
    text = shown(arguments.out)
    print(text)
    if arguments.write:
        write_section("approximate", text, PAGE)


def make_vectors(runs: Sequence[Path], n_docs: int, folder: Path) -> None:
    """Write `n_docs` vectors, those of the runs first."""
    vectors = np.concatenate([np.load(run / "index" / "vectors" / "pooled.npy") for run in runs])[:n_docs]
    nearest = ten_nearest(vectors)
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    create_arrays(folder, vectors.shape[1], [0] * n_docs)
    pooled = np.load(folder / "pooled.npy", mmap_mode="r+")
    pooled[: len(vectors)] = vectors
    for start in range(len(vectors), n_docs, ROWS):
        size = min(ROWS, n_docs - start)
        first = rng.integers(0, len(vectors), size)
        second = nearest[first, rng.integers(0, nearest.shape[1], size)]
        way = rng.uniform(0, 0.5, (size, 1)).astype(np.float32)
        noise = rng.standard_normal((size, vectors.shape[1]), dtype=np.float32) * (0.25 / vectors.shape[1] ** 0.5)
        moved = vectors[first] * (1 - way) + vectors[second] * way + noise
        pooled[start : start + size] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    pooled.flush()


def ten_nearest(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n, 10) rows, in no order."""
    nearest = np.empty((len(vectors), 10), np.int64)
    for start in range(0, len(vectors), 2048):
        cosines = vectors[start : start + 2048] @ vectors.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -1
        nearest[start : start + 2048] = np.argpartition(-cosines, 10, axis=1)[:, :10]
    return nearest


def encoded(files: Sequence[Path], base: str) -> NDArray[np.float32]:
    """(QUERIES, dim) vectors of queries, sampled equally from each file."""
    from acclimate.search.encoder import Encoder

    encoder, rng = Encoder.load(base), np.random.default_rng(1)
    texts: list[str] = []
    for path in files:
        in_file = sorted(row["text"] for _, row in read_jsonl(path))
        texts += [in_file[place] for place in rng.choice(len(in_file), QUERIES // len(files), replace=False)]
    return np.stack([encoder.encode([text])[0].pooled for text in texts])


def apart(measure: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The result of `measure`, run in a new process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, folder).result()


def build(folder: Path) -> dict[str, Any]:
    """Build the index."""
    pooled, most = np.load(folder / "pooled.npy", mmap_mode="r"), [0.0]
    before, started = own_mb(), time.process_time()
    index = ApproximateIndex.build(folder, pooled, lambda done, total: most.append(own_mb()))
    return {"seconds": time.process_time() - started, "mb": max(most) - before, "index_mb": index.nbytes / 1e6}


def approximate(folder: Path) -> dict[str, Any]:
    """Search by the index, and measure its recall."""
    vectors, queries = Vectors.open(folder), np.load(folder / "queries.npy")
    assert vectors.approximate is not None
    taken = searched(vectors, queries)
    recalls: list[float] = []
    for start in range(0, len(queries), TOGETHER):
        block = queries[start : start + TOGETHER]
        for query, scores in zip(block, vectors.dense_scores(block), strict=True):
            recalls.append(recall(vectors.approximate.pool(query, DEPTH), scores))
    return taken | {"recall": float(np.mean(recalls)), "worst": float(np.quantile(recalls, 0.05))}


def searched(vectors: Vectors, queries: NDArray[np.float32]) -> dict[str, Any]:
    """Cost of searching by the index."""

    def search(query: NDArray[np.float32]) -> None:
        assert vectors.approximate is not None
        rows = vectors.approximate.pool(query, DEPTH)
        assert rows is not None
        best(vectors.cosines(query, rows))

    seconds, mb = timed(lambda: [search(query) for query in queries])
    return {"per_second": len(queries) / seconds, "mb": mb}


def exact(folder: Path) -> dict[str, Any]:
    """Search by comparing every vector."""
    vectors, queries = Vectors.open(folder), np.load(folder / "queries.npy")[: 4 * TOGETHER]

    def search() -> None:
        for start in range(0, len(queries), TOGETHER):
            for scores in vectors.dense_scores(queries[start : start + TOGETHER]):
                best(scores)

    seconds, mb = timed(search)
    return {"per_second": len(queries) / seconds, "mb": mb}


def best(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Positions of the best scores."""
    places = np.argpartition(-scores, DEPTH)[:DEPTH]
    return places[np.argsort(-scores[places])]


def timed(search: Callable[[], object]) -> tuple[float, float]:
    """(CPU seconds of the second call, MB by which memory grew over both)."""
    before = own_mb()
    search()
    started = time.process_time()
    search()
    return time.process_time() - started, own_mb() - before


def own_mb() -> float:
    """Memory of this process in MB, without mapped files."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1000


def shown(out: Path) -> str:
    """The table of all results."""
    header = [
        "vectors", "recall@100", "of one query in twenty, at most", "queries/s", "exact",
        "MB to search", "exact", "MB of the index", "seconds to make it", "MB to make it",
    ]  # fmt: skip
    rows: list[list[str]] = []
    for path in sorted(out.glob("*/measured.json"), key=lambda path: int(path.parent.name)):
        measured = read_json(path)
        made, by_index, by_all = (measured[name] for name in ("build", "approximate", "exact"))
        rows.append(
            [
                f"{int(path.parent.name):,}",
                *(f"{by_index[name]:.3f}" for name in ("recall", "worst")),
                *(f"{way['per_second']:,.0f}" for way in (by_index, by_all)),
                *(f"{way['mb']:,.0f}" for way in (by_index, by_all)),
                *(f"{made[name]:,.0f}" for name in ("index_mb", "seconds", "mb")),
            ]
        )
    return table(header, rows)


if __name__ == "__main__":
    main()
