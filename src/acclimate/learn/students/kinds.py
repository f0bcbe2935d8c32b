"""The retrievers that a teacher's judgement is distilled into, as training sees them.

A student turns a batch of n-way examples into log-probabilities of their documents. Where only the query encoder
learns, document vectors are those of the index and stay valid; where both sides learn, the batch's documents are
encoded with gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense as Linear
from sentence_transformers.base.modules import Normalize, Router
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from torch.nn.functional import log_softmax, pad
from torch.utils.checkpoint import checkpoint

from acclimate.base import models
from acclimate.base.loading import quiet
from acclimate.base.memory import batches
from acclimate.learn.students import sparse, static
from acclimate.learn.students.lesson import Lesson, Student
from acclimate.records import NWay
from acclimate.search.encoder import Encoder, Task


class _Free:
    """A student without a penalty."""

    def penalty(self) -> float:
        return 0.0


@dataclass(frozen=True)
class DenseQuery(_Free):
    """Dense retrieval, query encoder only: a softmax over the whole corpus, whose vectors are fixed."""

    kind: ClassVar[str] = "dense"
    keeps_index: ClassVar[bool] = True
    sees_corpus: ClassVar[bool] = True
    encoder: Encoder
    lesson: Lesson
    temperature: float
    dims: Sequence[int] = ()  # lengths that it learns beside the whole

    @cached_property
    def documents(self) -> torch.Tensor:
        """(n_docs, dim) the vectors of the index."""
        return torch.tensor(self.lesson.vectors.pooled).to(self.encoder.model.device)

    def log_probs(self, batch: Sequence[NWay]) -> list[torch.Tensor]:
        pooled, _, _ = _queries(self.encoder, self.lesson, batch)
        logs = nested_log_softmax(pooled, self.documents, self.dims, self.temperature)  # (batch, n_docs)
        return [
            row[torch.tensor(_rows(self.lesson, example), device=row.device)]
            for row, example in zip(logs, batch, strict=True)
        ]


@dataclass(frozen=True)
class LateInteractionQuery(_Free):
    """Late interaction, query encoder only: a softmax over the example's documents, whose token vectors are fixed."""

    kind: ClassVar[str] = "late-interaction"
    keeps_index: ClassVar[bool] = True
    sees_corpus: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    temperature: float

    def log_probs(self, batch: Sequence[NWay]) -> list[torch.Tensor]:
        _, tokens, keep = _queries(self.encoder, self.lesson, batch)
        logs: list[torch.Tensor] = []
        for at, example in enumerate(batch):
            documents, starts = self.lesson.vectors.gather(_rows(self.lesson, example))
            vectors = torch.from_numpy(documents).to(tokens.device)
            lengths = torch.diff(torch.from_numpy(starts), append=torch.tensor([len(documents)]))
            scores = max_sim(tokens[at][keep[at]], vectors, lengths.to(tokens.device))
            logs.append(log_softmax(scores / self.temperature, dim=-1))
        return logs


@dataclass(frozen=True)
class Dense(_Free):
    """Dense retrieval, both sides: a softmax over all documents of the batch, encoded as they are now."""

    kind: ClassVar[str] = "dense"
    keeps_index: ClassVar[bool] = False
    sees_corpus: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    temperature: float
    dims: Sequence[int] = ()  # lengths that it learns beside the whole

    def log_probs(self, batch: Sequence[NWay]) -> list[torch.Tensor]:
        pooled, _, _ = _queries(self.encoder, self.lesson, batch)
        place = {doc_id: at for at, doc_id in enumerate(dict.fromkeys(d for e in batch for d in e.doc_ids))}
        texts = [self.lesson.corpus[doc_id].default_text() for doc_id in place]
        documents, _, _ = _encode(self.encoder, texts, "document")
        logs = nested_log_softmax(pooled, documents, self.dims, self.temperature)  # (batch, documents of the batch)
        return [
            row[torch.tensor([place[doc_id] for doc_id in example.doc_ids], device=row.device)]
            for row, example in zip(logs, batch, strict=True)
        ]


@dataclass(frozen=True)
class LateInteraction(_Free):
    """Late interaction, both sides: a softmax over the example's documents, encoded as they are now."""

    kind: ClassVar[str] = "late-interaction"
    keeps_index: ClassVar[bool] = False
    sees_corpus: ClassVar[bool] = False
    encoder: Encoder
    lesson: Lesson
    temperature: float

    def log_probs(self, batch: Sequence[NWay]) -> list[torch.Tensor]:
        _, tokens, keep = _queries(self.encoder, self.lesson, batch)
        logs: list[torch.Tensor] = []
        for at, example in enumerate(batch):
            texts = [self.lesson.corpus[doc_id].default_text() for doc_id in example.doc_ids]
            _, documents, kept = _encode(self.encoder, texts, "document")
            scores = max_sim(tokens[at][keep[at]], documents[kept], kept.sum(dim=1))
            logs.append(log_softmax(scores / self.temperature, dim=-1))
        return logs


# name -> (student, the temperature of its softmax)
STUDENTS: dict[str, tuple[Callable[[Encoder, Lesson, float], Student], float]] = {
    "dense": (Dense, 0.05),
    "dense-query": (DenseQuery, 0.05),
    "late-interaction": (LateInteraction, 0.03),
    "late-interaction-query": (LateInteractionQuery, 0.03),
    "sparse": (sparse.Sparse, 3.0),
    "sparse-query": (sparse.SparseQueryOnly, 3.0),
    "static": (static.Static, 0.05),
}


def nested_log_softmax(
    queries: torch.Tensor, documents: torch.Tensor, dims: Sequence[int], temperature: float
) -> torch.Tensor:
    """(n_queries, n_docs) log-probabilities, the mean over the whole vectors and their first `dims` components.

    A KL divergence is linear in them, so its loss is the mean of the losses at each length: Matryoshka representation
    learning (Kusupati et al. 2022).
    """
    logs = [log_softmax(queries @ documents.T / temperature, dim=-1)]
    for dim in dims:
        cut = torch.nn.functional.normalize(queries[:, :dim], dim=-1)
        logs.append(
            log_softmax(cut @ torch.nn.functional.normalize(documents[:, :dim], dim=-1).T / temperature, dim=-1)
        )
    return torch.stack(logs).mean(dim=0)


def max_sim(query: torch.Tensor, documents: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(n_docs,) mean over the query's tokens of the best match in each document.

    query: (n_query_tokens, dim); documents: (sum of lengths, dim), one document after the other.
    """
    n_docs = len(lengths)
    owner = torch.repeat_interleave(torch.arange(n_docs, device=query.device), lengths)
    similarity = query @ documents.T  # (n_query_tokens, all document tokens)
    best = torch.full((len(query), n_docs), -2.0, device=query.device, dtype=similarity.dtype)
    return best.scatter_reduce(1, owner.expand(len(query), -1), similarity, "amax").mean(dim=0)


def save(student: Student, base: Encoder, path: Path, *, dim: int = 0) -> None:
    """A folder that plain `SentenceTransformer`, `MultiVectorEncoder` or `SparseEncoder` loads.

    Where only the query encoder was trained, `encode_query` and plain `encode` use it, and `encode_document` the
    untouched base. `dim` cuts dense vectors to their first components, 0 does not.
    """
    with quiet():
        if isinstance(student, sparse.Sparse):
            sparse.save(student.encoder, path)
        elif isinstance(student, static.Static):
            static.save(student.encoder, path)
        else:
            _save(student, base, path, dim)


def _save(student: Student, base: Encoder, path: Path, dim: int) -> None:
    learner = cast(Encoder, student.encoder)
    modules = _modules(learner.model, student.kind, dim)
    if student.keeps_index:
        documents = _modules(base.model, student.kind, dim)
        router: Any = Router.for_query_document(modules, documents, default_route="query")
        modules = [router]
    make = SentenceTransformer if student.kind == "dense" else MultiVectorEncoder
    prompts: dict[str, str] = {**learner.prompts}
    made = make(modules=modules, prompts=prompts, device=models.device())
    made.save_pretrained(str(path), create_model_card=False)


def _modules(model: SentenceTransformer | MultiVectorEncoder, kind: str, dim: int = 0) -> list[Any]:
    modules = models.for_saving(list(model))
    if kind == "dense":
        whole = model.get_embedding_dimension()
        return [*modules, *_cut(whole, dim)] if dim and whole else modules
    if isinstance(model, MultiVectorEncoder):
        return modules
    special = [str(token) for token in model.tokenizer.all_special_tokens]
    mask = MultiVectorMask(skiplist_words=special, skiplist_tasks=["query", "document"])
    return [modules[0], mask, Normalize("token_embeddings", "token_embeddings")]


def _cut(whole: int, dim: int) -> list[Any]:
    """Modules that keep the first `dim` components: models are saved without their `truncate_dim`."""
    same = torch.nn.Identity()
    return [Linear(whole, dim, bias=False, activation_function=same, init_weight=torch.eye(dim, whole)), Normalize()]


def _queries(encoder: Encoder, lesson: Lesson, batch: Sequence[NWay]):
    return _encode(encoder, [lesson.queries[example.query_id] for example in batch], "query")


def _encode(encoder: Encoder, texts: Sequence[str], task: Task) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(pooled (n, dim), tokens (n, longest, dim), which tokens count (n, longest)).

    Texts are encoded in groups of like length. Of several groups only the vectors are kept, and each is encoded again
    when gradients flow back (gradient caching, Gao et al. 2021): memory grows with one group, not with the batch.
    """
    tokenized = encoder.tokenize(texts, task)
    groups = list(batches([len(text.ids) for text in tokenized], max_tokens=encoder.tokens_at_once))
    longest = max(len(text.ids) for text in tokenized)
    parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for rows in groups:
        features = encoder.features([tokenized[row] for row in rows], task)
        pooled, tokens = (
            checkpoint(encoder.forward, features, use_reentrant=False) if len(groups) > 1 else encoder.forward(features)
        )
        short = longest - tokens.shape[1]
        parts.append((pooled, pad(tokens, (0, 0, 0, short)), pad(features["keep"], (0, short))))
    back = torch.tensor([row for rows in groups for row in rows], device=parts[0][0].device).argsort()
    pooled, tokens, keep = (torch.cat(one)[back] for one in zip(*parts, strict=True))
    return pooled, tokens, keep


def _rows(lesson: Lesson, example: NWay) -> list[int]:
    return [lesson.ids.row[doc_id] for doc_id in example.doc_ids]
