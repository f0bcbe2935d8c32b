"""Checks of exported models: read back by their own libraries, their vectors and rankings are compared with ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder

from acclimate.base import models
from acclimate.base.cores import single_core
from acclimate.base.errors import DataError
from acclimate.base.loading import loading, quiet
from acclimate.deploy.exports.model_sides import Side
from acclimate.deploy.exports.source import Source
from acclimate.records import Doc, Query, ScoredDoc
from acclimate.search.encoded import Encoded, QueryEncoder, Task
from acclimate.search.members import LateInteractionMember, SparseMember
from acclimate.search.system import System
from acclimate.search.systems import of_documents
from acclimate.search.views import Views

_DOCUMENTS = 50  # compared with the index
TOP = 10
# Between vectors that should be equal, by the precision of ours, whose rounding grows with the layers; read back, they
# are float32.
LEAST_COSINE = {"float32": 0.999, "bfloat16": 0.99}


@dataclass(frozen=True)
class Exported:
    """An encoder that reads an exported folder with plain sentence-transformers; can replace a member's own."""

    folder: Path
    kind: str
    task: Task

    @property
    def fingerprint(self) -> str:
        return f"exported {self.folder}"

    def vectors(self, texts: Sequence[str]) -> list[np.ndarray]:
        """A vector for each text: one per token for late interaction, one over the vocabulary for a sparse model."""
        is_newer = self.kind in ("sparse", "late-interaction")
        encode = getattr(self._model, f"encode_{self.task}") if is_newer else self._model.encode
        with single_core():  # and alone: weights over a vocabulary for every token of a batch take gigabytes
            return [_plain(vectors) for vectors in encode(list(texts), batch_size=1, show_progress_bar=False)]

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Vectors of each text, in the order given."""
        return [_encoded(vectors, self.kind) for vectors in self.vectors(texts)]

    def __call__(self, text: str) -> tuple[list[int], np.ndarray]:
        """A sparse query: (tokens, ascending; their weights)."""
        (weights,) = self.vectors([text])
        tokens = np.flatnonzero(weights)
        return tokens.tolist(), weights[tokens]

    @cached_property
    def _model(self) -> Any:
        library = {"sparse": SparseEncoder, "late-interaction": MultiVectorEncoder}.get(self.kind, SentenceTransformer)
        with loading(self.folder):
            return library(str(self.folder), device="cpu", model_kwargs={"dtype": torch.float32})


def by_transformers(folder: Path, side: Side, texts: Sequence[str]) -> np.ndarray:
    """(n_texts, dim) vectors by plain transformers, computed as the card says; for mean and first-token pooling."""
    from transformers import AutoModel, AutoTokenizer

    with quiet():  # sentence-transformers has read the same files
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModel.from_pretrained(folder).float().eval()
    rows: list[torch.Tensor] = []
    for text in texts:
        batch = tokenizer([side.prompt + text], truncation=True, max_length=side.max_tokens, return_tensors="pt")
        with single_core(), torch.inference_mode():
            states = model(**batch).last_hidden_state
        rows.append(states.mean(1) if side.modules[1].pooling_mode == "mean" else states[:, 0])
    return torch.nn.functional.normalize(torch.cat(rows), dim=-1).numpy()


def documents(source: Source) -> list[tuple[int, Doc]]:
    """Some documents of the corpus with their rows, evenly spread."""
    doc_ids = source.corpus.ids
    rows = range(0, len(doc_ids), max(1, len(doc_ids) // _DOCUMENTS))[:_DOCUMENTS]
    return [(row, source.corpus[doc_ids[row]]) for row in rows]


def sample(source: Source, name: str, task: Task) -> tuple[list[str], list[np.ndarray]]:
    """Texts of one side, and the run's own vectors of them: the queries of an export, or some documents."""
    member = source.system.members[name]
    if task == "query":
        return [query.text for query in source.queries], _of_queries(member, source.queries)
    some = documents(source)
    return [doc.default_text() for _, doc in some], _in_index(member, [row for row, _ in some])


def _in_index(member: Any, rows: Sequence[int]) -> list[np.ndarray]:
    """The vectors of these documents in the run's index; for a sparse index, as long as the vocabulary."""
    if isinstance(member, SparseMember):
        wanted = {row: place for place, row in enumerate(rows)}
        weights = np.zeros((len(rows), len(member.index.starts) - 1), np.float32)
        holders = np.repeat(np.arange(weights.shape[1]), np.diff(member.index.starts))
        for place in np.flatnonzero(np.isin(member.index.documents, rows)):
            weights[wanted[int(member.index.documents[place])], holders[place]] = member.index.weights[place]
        return list(weights)
    if _is_of_tokens(member):
        gathered = [member.vectors.gather([row])[0] for row in rows]
        return [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in gathered]
    return [np.asarray(member.vectors.pooled[row]) for row in rows]


def _of_queries(member: Any, queries: Sequence[Query]) -> list[np.ndarray]:
    """The run's own vectors of queries."""
    texts = [query.text for query in queries]
    if isinstance(member, SparseMember):
        vectors = np.zeros((len(texts), len(member.query.weights)), np.float32)
        for row, text in enumerate(texts):
            tokens, weights = member.query(text)
            vectors[row, tokens] = weights
        return list(vectors)
    encoded = [member.encoder.encode([text])[0] for text in texts]
    return [of_text.tokens if _is_of_tokens(member) else of_text.pooled for of_text in encoded]


def least_cosine(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """The lowest cosine between vectors that should be equal; -1 where shapes differ.

    Left out are texts of special tokens alone, such as an unknown script, for which libraries have no token vectors.
    """
    pairs = [(left, right) for left, right in zip(ours, theirs, strict=True) if len(right)]
    if not pairs or any(left.shape != right.shape for left, right in pairs):
        return -1.0
    return min(float(_cosines(left, right).min()) for left, right in pairs)


def least_cosine_of_documents(member: Any, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """`least_cosine` with the vectors in the index, which keeps only the heaviest weights of sparse ones, and rounds
    token vectors: relative to the cosine that rounding alone leaves.
    """
    if isinstance(member, LateInteractionMember):
        rounding = least_cosine(theirs, [member.vectors.rounded(vectors) for vectors in theirs])
        return min(1.0, least_cosine(ours, theirs) / rounding)
    if isinstance(member, SparseMember):
        theirs = [np.where(kept > 0, whole, 0) for kept, whole in zip(ours, theirs, strict=True)]
    return least_cosine(ours, theirs)


def refuse_others(name: str, cosines: Mapping[str, float], folder: Path) -> None:
    """Raise DataError if a member's model, read back, gives other vectors. cosines: by what was compared."""
    for what, cosine in cosines.items():
        if cosine < LEAST_COSINE[models.dtype_name()]:
            raise DataError(f"{name}: read back, the {what} with ours is {cosine:.4f}; expected 1", path=folder)


def _cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    is_zero = (np.abs(left).sum(-1) == 0) & (np.abs(right).sum(-1) == 0)
    return np.where(is_zero, 1.0, (left * right).sum(-1) / np.maximum(lengths, 1e-12))


def hits_with(source: Source, encoders: Mapping[str, QueryEncoder]) -> list[ScoredDoc]:
    """The ten best documents for each query, by the same system with other query encoders (member -> encoder)."""
    system = source.system
    members = {name: system.members[name] for name in source.members}
    for name, encoder in encoders.items():
        part = "query" if isinstance(members[name], SparseMember) else "encoder"
        members[name] = replace(members[name], **{part: encoder})  # pyright: ignore[reportArgumentType]
    exported = System(system.ids, members, system.sources, system.weights, system.depth, Views())
    return of_documents(exported, system.ids).search(source.queries, TOP)


def share_of_top(ours: Sequence[ScoredDoc], theirs: Sequence[ScoredDoc]) -> float:
    """The share of our documents that are also among theirs, averaged over queries."""
    by_query: dict[str, set[str]] = {}
    for hit in ours:
        by_query.setdefault(hit.query_id, set()).add(hit.doc_id)
    found_too = {(hit.query_id, hit.doc_id) for hit in theirs}
    shares = [
        sum((query_id, doc_id) in found_too for doc_id in doc_ids) / len(doc_ids)
        for query_id, doc_ids in by_query.items()
    ]
    return float(np.mean(shares)) if shares else 1.0


def rated(folder: Path, pairs: Sequence[tuple[str, str]], max_tokens: int) -> np.ndarray:
    """(n,) scores by plain `CrossEncoder` for pairs of query and document texts."""
    with loading(folder):
        model = CrossEncoder(str(folder), max_length=max_tokens, device="cpu")
    return np.asarray(model.predict(list(pairs), show_progress_bar=False), dtype=np.float64).reshape(-1)


def _is_of_tokens(member: Any) -> bool:
    return isinstance(member, LateInteractionMember)


def _plain(vectors: Any) -> np.ndarray:
    if isinstance(vectors, torch.Tensor):
        vectors = (vectors.to_dense() if vectors.is_sparse else vectors).float().cpu().numpy()
    return np.asarray(vectors, dtype=np.float32)


def _encoded(vectors: np.ndarray, kind: str) -> Encoded:
    none = np.empty((0, vectors.shape[-1]), np.float32)
    return Encoded(none, vectors) if kind == "late-interaction" else Encoded(vectors, none)
