"""Learned sparse retrieval: documents as weighted vocabulary tokens, searched through an inverted index.

A document's weight for token v is log(1 + max over its positions of relu(w_v . x + b_v)), the pooling of SPLADE (Formal
et al. 2021), with x the position's centered token vector. A query is its set of tokens, each with a learned weight, so
no transformer runs at query time (inference-free, Geng et al. 2024). Scores are exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.base.disk import new_array
from acclimate.base.files import read_json, read_state, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.search.vectors import Vectors

_DOCUMENTS_AT_ONCE = 32
_BLOCK_DOCS = 8  # multiplied together, so that they stay in the cache
_TOKENS_AT_ONCE = 2048  # of the vocabulary, per block
_SPARE = 64  # candidates beyond the tokens that are kept
_ENTRIES_AT_ONCE = 1 << 22  # postings sorted at once
_PARTS = {"rows": np.int32, "tokens": np.int32, "values": np.float32}  # files of entries in document order
SILENT = -100.0  # bias of tokens that the corpus does not have


class Head(NamedTuple):
    """Maps token vectors to vocabulary weights; tokens without a row always weigh 0."""

    tokens: NDArray[np.int64]  # (n_live,) ascending
    weights: NDArray[np.float32]  # (n_live, dim)
    bias: NDArray[np.float32]  # (n_live,)

    @classmethod
    def open(cls, folder: Path) -> tuple[Head, int]:
        """The document head of a student saved by `distill`, and its vocabulary size."""
        from sentence_transformers.base.modules import Transformer

        model: Any = Transformer.load(str(folder / "document_0_Transformer")).model
        decoder = model.get_output_embeddings()
        weights, bias = (part.detach().float().numpy() for part in (decoder.weight, decoder.bias))
        live = np.flatnonzero(bias != SILENT)  # other tokens may be as low only if all documents are alike
        return cls(live, weights[live], bias[live]), len(bias)

    @property
    def fingerprint(self) -> str:
        return fingerprint([_hash(part) for part in self])

    def heaviest(
        self, vectors: NDArray[np.float32], starts: NDArray[np.int64], keep: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """The `keep` largest token weights of each document: (positions in `tokens`, ascending; weights, above 0).

        vectors: (n_tokens, dim), of documents that begin at `starts`. Ties go to the first token; keep=0 keeps all.
        Half precision, if fast, preselects some more candidates than are kept, which are then computed in full.
        """
        whole = torch.from_numpy(centered(vectors))
        weights, bias = torch.from_numpy(self.weights), torch.from_numpy(self.bias)
        lengths = np.diff(starts, append=len(vectors)).tolist()
        candidates = keep + _SPARE if keep else len(bias)
        if candidates < len(bias):
            best = _best(whole, weights, lengths) + bias
            likely = best.topk(candidates, dim=1).indices.sort(dim=1).values
        else:
            likely = torch.arange(len(bias)).expand(len(lengths), -1)
        for document, places in zip(whole.split(lengths), likely, strict=True):
            among = weights if len(places) == len(bias) else weights[places]
            values = ((document @ among.T).amax(dim=0) + bias[places]).relu().log1p().numpy()
            kept = np.sort(np.argsort(-values, kind="stable")[: keep or None])
            kept = kept[values[kept] > 0]
            yield places.numpy()[kept], values[kept]


def _best(vectors: torch.Tensor, weights: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """(n_docs, n_live) maximum product over each document's positions, in this machine's fastest precision."""
    vectors, weights = (part.to(models.device(), models.dtype()) for part in (vectors, weights))
    best = vectors.new_empty(len(lengths), len(weights), dtype=torch.float32)
    parts = vectors.split(lengths)
    for first_doc in range(0, len(parts), _BLOCK_DOCS):
        block = parts[first_doc : first_doc + _BLOCK_DOCS]
        together, sizes = torch.cat(block), [len(part) for part in block]
        for first in range(0, len(weights), _TOKENS_AT_ONCE):
            products = together @ weights[first : first + _TOKENS_AT_ONCE].T
            rows = torch.stack([part.amax(dim=0) for part in products.split(sizes)])
            best[first_doc : first_doc + len(block), first : first + _TOKENS_AT_ONCE] = rows
    return best.cpu()  # wait for a GPU once


def centered(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors minus the mean of their components, scaled to length sqrt(dim), as by a layer norm."""
    vectors = vectors - vectors.mean(axis=-1, keepdims=True)
    return vectors / np.maximum(vectors.std(axis=-1, keepdims=True), 1e-6)


@dataclass(frozen=True)
class SparseIndex:
    """An inverted index: token v is in `documents[starts[v]:starts[v + 1]]`, with these `weights`."""

    starts: NDArray[np.int64]  # (n_vocabulary + 1,)
    documents: NDArray[np.int32]
    weights: NDArray[np.float32]
    n_docs: int
    fingerprint: str  # of the weights that made it

    @classmethod
    def open(cls, folder: Path) -> SparseIndex:
        """Memory-map the folder written by `build`."""
        starts, documents, weights = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("starts", "documents", "weights")
        )
        state = read_json(folder / "done.json")
        return cls(np.asarray(starts), documents, weights, state["documents"], state["key"])

    def write(self, folder: Path) -> None:
        """Write it in the format of `build`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in (("starts", self.starts), ("documents", self.documents), ("weights", self.weights)):
            np.save(folder / f"{name}.npy", array)
        counts = {"documents": self.n_docs, "entries": len(self.documents)}
        write_json(folder / "done.json", {"key": self.fingerprint, **counts, "inverted": True})

    @property
    def active_dims(self) -> float:
        """Mean number of tokens per document."""
        return len(self.documents) / max(1, self.n_docs)

    @property
    def nbytes(self) -> int:
        """Size on disk."""
        return self.starts.nbytes + self.documents.nbytes + self.weights.nbytes

    def scores(self, tokens: Sequence[int], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_docs,) inner products with a query of these distinct tokens and weights."""
        scores = np.zeros(self.n_docs, dtype=np.float32)
        for token, weight in zip(tokens, weights, strict=True):
            postings = slice(self.starts[token], self.starts[token + 1])
            scores[self.documents[postings]] += weight * self.weights[postings]  # a document is in a list only once
        return scores


def _hash(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def build(
    vectors: Vectors,
    head: Head,
    n_vocabulary: int,
    folder: Path,
    *,
    max_active_dims: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SparseIndex:
    """Index the documents whose token vectors are given, resuming an interrupted build in `folder`.

    A document keeps its `max_active_dims` largest weights, ties by token; 0 keeps all. Memory does not grow with the
    corpus: rows are written in order, then sorted by token in blocks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "done.json"
    n_docs = len(vectors.pooled)
    key = index_key(head, n_docs, len(vectors.tokens), max_active_dims)
    state = read_state(journal, key)
    if not state:
        state = {"key": key, "documents": 0, "entries": 0, "inverted": False}
        for name in _PARTS:
            (folder / f"{name}.part").write_bytes(b"")
    if not state["inverted"]:
        _write_rows(vectors, head, folder, state, max_active_dims, progress)
        _invert(folder, n_vocabulary, state["entries"])
        write_json(journal, {**state, "inverted": True})
    for name in _PARTS:
        (folder / f"{name}.part").unlink(missing_ok=True)
    return SparseIndex.open(folder)


def index_key(head: Head, n_docs: int, n_tokens: int, max_active_dims: int) -> str:
    """Identifies an index: the weights that made it, and the numbers of documents and token vectors."""
    return fingerprint(head.fingerprint, n_docs, n_tokens, max_active_dims)


def _write_rows(
    vectors: Vectors, head: Head, folder: Path, state: dict[str, Any], keep: int, progress: Callable[[int, int], None]
) -> None:
    """Append (document, token, weight) for each remaining document; `state` counts what is written."""
    n_docs = len(vectors.pooled)
    files = [(folder / f"{name}.part").open("r+b") for name in _PARTS]
    for file in files:
        file.truncate(4 * state["entries"])  # remove what an interrupted batch left
        file.seek(0, 2)
    try:
        for start in range(state["documents"], n_docs, _DOCUMENTS_AT_ONCE):
            end = min(start + _DOCUMENTS_AT_ONCE, n_docs)
            places, weights = zip(*head.heaviest(*vectors.gather(range(start, end)), keep), strict=True)
            rows = np.repeat(np.arange(start, end), [len(of_document) for of_document in places])
            tokens = head.tokens[np.concatenate(places)]
            columns = rows, tokens, np.concatenate(weights)
            for file, column, kind in zip(files, columns, _PARTS.values(), strict=True):
                file.write(column.astype(kind).tobytes())
                file.flush()
            state |= {"documents": end, "entries": state["entries"] + len(rows)}
            write_json(folder / "done.json", state)
            progress(end, n_docs)
    finally:
        for file in files:
            file.close()


def _invert(folder: Path, n_vocabulary: int, entries: int) -> None:
    """The three arrays of the inverted index, from entries in document order."""
    # An empty file cannot be mapped.
    parts: dict[str, Any] = {
        name: np.memmap(folder / f"{name}.part", kind, "r") if entries else np.empty(0, kind)
        for name, kind in _PARTS.items()
    }
    counts = np.zeros(n_vocabulary, np.int64)
    blocks = [slice(start, start + _ENTRIES_AT_ONCE) for start in range(0, entries, _ENTRIES_AT_ONCE)]
    for block in blocks:
        counts += np.bincount(parts["tokens"][block], minlength=n_vocabulary)
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    np.save(folder / "starts.npy", starts)
    documents = new_array(folder / "documents.npy", np.int32, (entries,))
    weights = new_array(folder / "weights.npy", np.float32, (entries,))
    filled = starts[:-1].copy()
    for block in blocks:
        order, places = next_places(parts["tokens"][block], filled)
        documents[places], weights[places] = parts["rows"][block][order], parts["values"][block][order]
    documents.flush()
    weights.flush()


def next_places(keys: NDArray[np.integer], filled: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """(order, places) that put a block of entries into arrays grouped by key, as in a counting sort.

    The entries `order` go to `places`; those of a key stay in order. filled: by key, the next free place; moved on.
    """
    order = np.argsort(keys, kind="stable")
    present, heads, sizes = np.unique(keys[order], return_index=True, return_counts=True)
    places = np.repeat(filled[present] - heads, sizes) + np.arange(len(keys))
    filled[present] += sizes
    return order, places
