"""Learned sparse retrieval: documents as weights of vocabulary tokens, found through an inverted index.

A document's weight for token v is log(1 + max over its positions of relu(w_v . x + b_v)), the pooling of SPLADE (Formal
et al. 2021), with x the position's centered token vector. A query is the set of its tokens, each with a weight of its
own: no transformer runs when one is asked (inference-free, Geng et al. 2024). Scores are exact.
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
_BLOCK_DOCS = 8  # whose products are computed together: they stay in the cache
_TOKENS_AT_ONCE = 2048  # of the vocabulary, in such a block
_SPARE = 64  # more candidates than tokens that are kept
_MOST_QUERY_TOKENS = 8192
_ENTRIES_AT_ONCE = 1 << 22  # postings put in order at once
SILENT = -100.0  # bias of tokens that the corpus does not have


class Head(NamedTuple):
    """What turns a token vector into weights of the vocabulary; tokens with no row in it never weigh anything."""

    tokens: NDArray[np.int64]  # (n_live,) ascending
    weights: NDArray[np.float32]  # (n_live, dim)
    bias: NDArray[np.float32]  # (n_live,)

    @classmethod
    def open(cls, folder: Path) -> tuple[Head, int]:
        """The document side of a student that `distill` saved, and how many tokens its vocabulary has."""
        from sentence_transformers.base.modules import Transformer

        model: Any = Transformer.load(str(folder / "document_0_Transformer")).model
        decoder = model.get_output_embeddings()
        weights, bias = (part.detach().float().numpy() for part in (decoder.weight, decoder.bias))
        live = np.flatnonzero(bias != SILENT)  # another token's may be as low, where documents are all alike
        return cls(live, weights[live], bias[live]), len(bias)

    @property
    def fingerprint(self) -> str:
        return fingerprint([_hash(part) for part in self])

    def heaviest(
        self, vectors: NDArray[np.float32], starts: NDArray[np.int64], keep: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Per document: (places in `tokens`, ascending; their weights, above 0) of its `keep` heaviest tokens.

        vectors: (n_tokens, dim), of documents that begin at `starts`. Ties go to the first token; 0 keeps all. Half
        precision, where it is fast, finds some more candidates than are kept; these are weighed in full.
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
    """(n_docs, n_live) products of each document's best position, as precise as this machine is fast at."""
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
    return best.cpu()  # a GPU is waited for once


def centered(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors less the mean of their own components, of length sqrt(dim): what a layer norm makes of them."""
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
        """Memory-mapped from the folder that `build` wrote."""
        starts, documents, weights = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("starts", "documents", "weights")
        )
        state = read_json(folder / "done.json")
        return cls(np.asarray(starts), documents, weights, state["documents"], state["key"])

    @property
    def active_dims(self) -> float:
        """Tokens with a weight per document, on average."""
        return len(self.documents) / max(1, self.n_docs)

    @property
    def nbytes(self) -> int:
        """What it takes on disk."""
        return self.starts.nbytes + self.documents.nbytes + self.weights.nbytes

    def scores(self, tokens: Sequence[int], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_docs,) inner products with a query that has these weights at these different tokens."""
        scores = np.zeros(self.n_docs, dtype=np.float32)
        for token, weight in zip(tokens, weights, strict=True):
            postings = slice(self.starts[token], self.starts[token + 1])
            scores[self.documents[postings]] += weight * self.weights[postings]  # a document is in a list once
        return scores


@dataclass(frozen=True)
class SparseQuery:
    """The query side: the tokens of a text, each once, with learned weights. No transformer."""

    tokenizer: Any
    weights: NDArray[np.float32]  # (n_vocabulary,), 0 or more

    @classmethod
    def open(cls, folder: Path) -> SparseQuery:
        """The query side of a student that `distill` saved."""
        from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

        embedding = SparseStaticEmbedding.load(str(folder / "query_0_SparseStaticEmbedding"))
        return cls(embedding.tokenizer, embedding.weight.detach().numpy())

    @property
    def fingerprint(self) -> str:
        return fingerprint("sparse-query", _hash(self.weights))

    def __call__(self, text: str) -> tuple[list[int], NDArray[np.float32]]:
        """(tokens, ascending; their weights), without tokens that weigh nothing."""
        tokens = [token for token in query_tokens(self.tokenizer, text) if self.weights[token] > 0]
        return tokens, self.weights[tokens]


def query_tokens(tokenizer: Any, text: str) -> list[int]:
    """The different tokens of a query, ascending: of its text alone, without a prompt."""
    limit = min(tokenizer.model_max_length, _MOST_QUERY_TOKENS)  # tokenizers without an end say 1e30
    return sorted(set(tokenizer(text, add_special_tokens=False, truncation=True, max_length=limit)["input_ids"]))


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
    """Index the documents whose token vectors are kept, going on from what an interrupted call left in `folder`.

    A document keeps its `max_active_dims` largest weights, ties by token; all of them where it is 0. Memory does not
    grow with the corpus: rows are written as they come, then put in order by token in blocks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "done.json"
    n_docs = len(vectors.pooled)
    key = index_key(head, n_docs, len(vectors.tokens), max_active_dims)
    state = read_state(journal, key)
    if not state:
        state = {"key": key, "documents": 0, "entries": 0, "inverted": False}
        for name in ("rows.part", "tokens.part", "values.part"):
            (folder / name).write_bytes(b"")
    if not state["inverted"]:
        _write_rows(vectors, head, folder, state, max_active_dims, progress)
        _invert(folder, n_docs, n_vocabulary, state["entries"])
        write_json(journal, {**state, "inverted": True})
    for name in ("rows.part", "tokens.part", "values.part"):
        (folder / name).unlink(missing_ok=True)
    return SparseIndex.open(folder)


def index_key(head: Head, n_docs: int, n_tokens: int, max_active_dims: int) -> str:
    """What tells an index from others: the weights that made it, and of how many documents and token vectors."""
    return fingerprint(head.fingerprint, n_docs, n_tokens, max_active_dims)


def write_index(
    folder: Path,
    starts: NDArray[np.int64],
    documents: NDArray[np.integer],
    weights: NDArray[np.float32],
    n_docs: int,
    key: str,
) -> None:
    """An index as `build` leaves it, of postings that are known; see `SparseIndex`."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"starts": starts, "documents": documents.astype(np.int32), "weights": weights}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    state = {"key": key, "documents": n_docs, "entries": len(documents), "inverted": True}
    write_json(folder / "done.json", state)


def _write_rows(
    vectors: Vectors, head: Head, folder: Path, state: dict[str, Any], keep: int, progress: Callable[[int, int], None]
) -> None:
    """Append (document, token, weight) for each document that is not written yet; `state` counts what is."""
    n_docs = len(vectors.pooled)
    files = [(folder / name).open("r+b") for name in ("rows.part", "tokens.part", "values.part")]
    for file in files:
        file.truncate(4 * state["entries"])  # what a killed batch left behind
        file.seek(0, 2)
    try:
        for start in range(state["documents"], n_docs, _DOCUMENTS_AT_ONCE):
            end = min(start + _DOCUMENTS_AT_ONCE, n_docs)
            places, weights = zip(*head.heaviest(*vectors.gather(range(start, end)), keep), strict=True)
            rows = np.repeat(np.arange(start, end), [len(of_document) for of_document in places])
            tokens = head.tokens[np.concatenate(places)]
            parts = rows.astype(np.int32), tokens.astype(np.int32), np.concatenate(weights)
            for file, part in zip(files, parts, strict=True):
                file.write(part.tobytes())
                file.flush()
            state |= {"documents": end, "entries": state["entries"] + len(rows)}
            write_json(folder / "done.json", state)
            progress(end, n_docs)
    finally:
        for file in files:
            file.close()


def _invert(folder: Path, n_docs: int, n_vocabulary: int, entries: int) -> None:
    """The three arrays of the inverted index, from entries that are in the order of documents."""
    kinds = {"rows": np.int32, "tokens": np.int32, "values": np.float32}
    # An empty file cannot be mapped.
    parts: dict[str, Any] = {
        name: np.memmap(folder / f"{name}.part", kind, "r") if entries else np.empty(0, kind)
        for name, kind in kinds.items()
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
        tokens = parts["tokens"][block]
        order = np.argsort(tokens, kind="stable")  # within a token, documents stay in order
        ordered = tokens[order]
        heads = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        sizes = np.diff(np.append(heads, len(ordered)))
        places = np.repeat(filled[ordered[heads]] - heads, sizes) + np.arange(len(ordered))
        documents[places], weights[places] = parts["rows"][block][order], parts["values"][block][order]
        filled[ordered[heads]] += sizes
    documents.flush()
    weights.flush()
