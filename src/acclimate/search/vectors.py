"""Document vectors on disk: pooled and token vectors, memory-mapped, written batch by batch.

A folder has `pooled.npy` (n_docs, dim) float32, `tokens.npy` (n_tokens, token_dim) int8 with `scales.npy` (n_tokens,)
float32, and `offsets.npy` (n_docs + 1). Eight-bit token vectors rank as sixteen-bit ones do (docs/log.md); with four
bits, two numbers share a byte. Batches depend on the documents alone, and `done.json` counts those written, so an
interrupted encoding resumes and gives the same bytes. Memory does not grow with the corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from acclimate.base import distributed, models
from acclimate.base.cores import parallel_map
from acclimate.base.digests import fingerprint
from acclimate.base.disk import new_array, release
from acclimate.base.files import read_state, write_json
from acclimate.base.memory import batches, tokens_at_once
from acclimate.base.prefetch import prefetch
from acclimate.records import Doc
from acclimate.search import approximate, four_bits
from acclimate.search.approximate import ApproximateIndex
from acclimate.search.device_vectors import DeviceVectors, has_room
from acclimate.search.encoded import cut
from acclimate.search.four_bits import FourBits
from acclimate.search.max_sim import max_sim
from acclimate.search.tokenized import TokenizedTexts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.search.encoded import Tokens
    from acclimate.search.encoder import Encoder
    from acclimate.search.inference import Read

TOKENS = EIGHT, FOUR = "int8", "int4"  # formats of token vectors
_MOST = {EIGHT: 127, FOUR: four_bits.MOST}  # integer of each format
_ARRAYS = ("pooled", "tokens", "scales", "offsets")
_TOKENIZE_AT_ONCE = 1024
_BLOCK_ROWS = 65_536  # rows of pooled vectors truncated at once
_NUMBERS_IN_CACHE = 1 << 17  # components of pooled vectors compared with one query after another
_ROWS_COMPARED = 4096  # pooled vectors compared at once, from arbitrary rows
_LARGE = 1 << 30  # bytes on disk beyond which read pages are released, at the price of reading again
_RESIDENT = 1 << 28  # bytes read before pages are released


@dataclass(frozen=True)
class Vectors:
    """The vectors of a corpus; row i belongs to document i."""

    pooled: NDArray[np.float32]  # (n_docs, dim), unit length
    tokens: NDArray[np.int8] | FourBits  # (n_tokens, token_dim)
    scales: NDArray[np.float32]  # (n_tokens,): tokens[j] * scales[j] has unit length
    offsets: NDArray[np.int64]  # (n_docs + 1,): document i has tokens[offsets[i]:offsets[i + 1]]
    approximate: ApproximateIndex | None = None  # of the pooled vectors, if there are many

    @classmethod
    def open(cls, folder: Path) -> Vectors:
        """Memory-map the folder written by `encode_corpus`, copy-on-write, as torch requires writable arrays."""
        return cls(*arrays_of(folder, "c"), ApproximateIndex.of(folder))

    @property
    def token_format(self) -> str | None:
        """The format of token vectors, one of `TOKENS`; None if there are none."""
        return None if not len(self.tokens) else FOUR if isinstance(self.tokens, FourBits) else EIGHT

    def dense_scores(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_queries, n_docs) cosines, on a GPU if the corpus fits.

        On a CPU documents are read once for all queries, in blocks that fit the cache; each query has its own product
        of a shape that depends on the corpus only, so results are batch-invariant.
        """
        if self._on_device is not None:
            return self._on_device.dense_scores(queries)
        scores = np.empty((len(queries), len(self.pooled)), dtype=np.float32)
        n_rows, n_read = max(1, _NUMBERS_IN_CACHE // max(1, self.pooled.shape[1])), 0
        for start in range(0, len(self.pooled), n_rows):
            block = np.asarray(self.pooled[start : start + n_rows])
            n_read += block.nbytes
            if self.pooled.nbytes > _LARGE and n_read > _RESIDENT:
                n_read = 0
                _release(self.pooled, self.tokens, self.scales)
            for query, of_query in zip(queries, scores, strict=True):
                np.dot(block, query, out=of_query[start : start + n_rows])
        return scores

    def cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n_rows,) cosines with these documents; each is summed by itself, so results are batch-invariant."""
        scores = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _ROWS_COMPARED):
            block = rows[start : start + _ROWS_COMPARED]
            np.einsum("ij,j->i", self.pooled[block], query, out=scores[start : start + len(block)])
        return scores

    @cached_property
    def _on_device(self) -> DeviceVectors | None:
        """The same vectors on a GPU; None if they stay on the CPU."""
        if not has_room(self.pooled.nbytes + self.tokens.size + self.scales.nbytes):  # tokens in eight bits
            return None
        return DeviceVectors(self.pooled, self.tokens, self.scales, self.offsets, models.device())

    def gather(self, rows: Sequence[int] | NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(token vectors of these documents, concatenated; where each document starts)."""
        spans = [slice(self.offsets[row], self.offsets[row + 1]) for row in rows]
        tokens, scales = self._gathered(spans)
        starts = np.cumsum([0, *(span.stop - span.start for span in spans[:-1])]).astype(np.int64)
        return torch.from_numpy(tokens).float().mul_(torch.from_numpy(scales)[:, None]).numpy(), starts

    def _gathered(self, spans: Sequence[slice]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Eight-bit token vectors of these spans, concatenated, and their scales."""
        stored, scales = np.asarray(_stored(self.tokens)), np.asarray(self.scales)  # slicing a memory map is slower
        tokens = np.concatenate([stored[span] for span in spans])
        whole = FourBits(tokens)[:] if isinstance(self.tokens, FourBits) else tokens
        return whole, np.concatenate([scales[span] for span in spans])

    def rounded(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        """Token vectors (n, token_dim) as the index keeps them."""
        numbers, scales = quantized(torch.from_numpy(tokens), _MOST[self.token_format or EIGHT])
        return numbers.float().mul_(scales[:, None]).numpy()

    def max_sim(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """MaxSim (ColBERT, Khattab and Zaharia 2020, section 3.2), averaged over the query's tokens.

        query: (n_query_tokens, dim); returns (n_rows,) in [-1, 1], comparable between queries of different lengths.
        Batch-invariant.
        """
        return self.begin_max_sim(query, rows)()

    def begin_max_sim(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> Callable[[], NDArray[np.float32]]:
        """Start `max_sim` on a GPU; returns a function that waits for the result. On a CPU it is computed at once."""
        if self._on_device is None:
            scores = max_sim(self._gathered, self.offsets, query, rows)
            return lambda: scores
        scores_there = self._on_device.max_sim(query, rows)
        return lambda: scores_there.cpu().numpy()


def arrays_of(folder: Path, mode: Literal["c", "r+"]) -> tuple[Any, Any, Any, Any]:
    """(pooled vectors, tokens, scales, offsets), memory-mapped."""
    pooled, tokens, scales, offsets = (np.load(folder / f"{name}.npy", mmap_mode=mode) for name in _ARRAYS)
    return pooled, FourBits(tokens) if tokens.dtype == np.uint8 else tokens, scales, offsets


def encode_corpus(
    encoder: Encoder,
    corpus: Mapping[str, Doc],
    folder: Path,
    *,
    tokens_as: str | None = EIGHT,
    maker: Callable[[], Encoder] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Vectors:
    """Encode a corpus into `folder`, resuming an interrupted call with the same texts and encoder.

    An encoding of other texts is started over. tokens_as: format of token vectors, one of `TOKENS`; None: do not store
    them. maker: loads the same encoder in another process to share the work; None: this process does all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "done.json"
    with TokenizedTexts(folder) as tokenized, ThreadPoolExecutor(max_workers=1) as thread:
        digest = _tokenize(encoder, corpus, tokenized)
        plan = list(batches(tokenized.lengths, max_tokens=tokens_at_once()))
        key = fingerprint(tokens_as or "pooled", encoder.fingerprint, tokens_at_once(), digest)
        done = read_state(journal, key).get("batches", 0)
        if not done:
            counts, token_dim = (tokenized.counts, encoder.token_dim) if tokens_as else ([0] * len(corpus), 0)
            create_arrays(folder, encoder.dim, counts, token_dim, tokens_as)
        pooled, tokens, scales, offsets = arrays_of(folder, "r+")
        encoded = sum(len(rows) for rows in plan[:done])
        texts = prefetch(thread, tokenized.read, plan[done:])
        read = _pooled_alone if tokens_as is None else partial(_with_tokens, most=_MOST[tokens_as])
        if maker:
            read_batches = distributed.shared(encoder, maker, read, texts, cores=None)
        else:
            read_batches = parallel_map(partial(read, encoder), texts)
        for number, (rows, batch) in enumerate(zip(plan[done:], read_batches, strict=True), done + 1):
            for row, (vector, *of_tokens) in zip(rows, batch, strict=True):
                pooled[row] = vector
                if tokens_as:
                    span = slice(offsets[row], offsets[row + 1])
                    tokens[span], scales[span] = of_tokens
            write_json(journal, {"key": key, "batches": number})
            _release(pooled, tokens, scales)  # reading a row may map a large page of the page cache
            encoded += len(rows)
            progress(encoded, len(corpus))
    flush(pooled, tokens, scales)
    return Vectors.open(folder)


def flush(*arrays: NDArray[Any] | FourBits) -> None:
    """Write memory-mapped arrays to disk."""
    for array in map(_stored, arrays):
        if isinstance(array, np.memmap):
            array.flush()


def _release(*arrays: NDArray[Any] | FourBits) -> None:
    for array in arrays:
        release(_stored(array))


def _stored(array: NDArray[Any] | FourBits) -> NDArray[Any]:
    return array.packed if isinstance(array, FourBits) else array


def _pooled_alone(encoder: Encoder, batch: Sequence[Tokens]) -> list[Read]:
    return encoder.read_batch(batch, "document", _nothing)


def _nothing(vectors: torch.Tensor) -> tuple[torch.Tensor]:
    return (vectors[:, :0],)


def _with_tokens(encoder: Encoder, batch: Sequence[Tokens], *, most: int) -> list[Read]:
    return encoder.read_batch(batch, "document", partial(quantized, most=most))


def quantized(vectors: torch.Tensor, most: int = _MOST[EIGHT]) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, dim) integers from -most to most, and (n,) scales that restore the vectors."""
    scales = vectors.abs().amax(1) / most
    return (vectors / scales.clamp(min=1e-12)[:, None]).round_().to(torch.int8), scales


def cut_vectors(vectors: Vectors, dim: int, folder: Path) -> Vectors:
    """Write pooled vectors truncated to `dim` components, without token vectors, to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    create_arrays(folder, dim, [0] * len(vectors.pooled))
    pooled = np.load(folder / "pooled.npy", mmap_mode="r+")
    for start in range(0, len(pooled), _BLOCK_ROWS):
        pooled[start : start + _BLOCK_ROWS] = cut(vectors.pooled[start : start + _BLOCK_ROWS], dim)
    pooled.flush()
    return Vectors.open(folder)


def _tokenize(encoder: Encoder, corpus: Mapping[str, Doc], tokenized: TokenizedTexts) -> str:
    """Tokenize all documents in order; returns a digest of their texts."""
    digest = hashlib.sha256()
    docs = iter(corpus.values())
    while texts := [doc.default_text() for doc in islice(docs, _TOKENIZE_AT_ONCE)]:
        tokenized.add(encoder.tokenize(texts, "document"))
        for text in texts:
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()


def create_arrays(
    folder: Path, dim: int, counts: Sequence[int], token_dim: int = 0, tokens_as: str | None = EIGHT
) -> None:
    """Create uninitialized arrays, replacing earlier ones; without token vectors if `token_dim` is 0."""
    approximate.index(folder, is_wanted=False)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    np.save(folder / "offsets.npy", offsets)
    new_array(folder / "pooled.npy", np.float32, (len(counts), dim))
    if token_dim:
        kind, width = (np.uint8, token_dim // 2) if tokens_as == FOUR else (np.int8, token_dim)
        new_array(folder / "tokens.npy", kind, (int(offsets[-1]), width))
        new_array(folder / "scales.npy", np.float32, (int(offsets[-1]),))
    else:
        np.save(folder / "tokens.npy", np.empty((0, dim), np.int8))
        np.save(folder / "scales.npy", np.empty(0, np.float32))
