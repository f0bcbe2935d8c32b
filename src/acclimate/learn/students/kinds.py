"""The kinds of students by name, and how they are saved.

A student turns a batch of n-way examples into similarities of queries and documents. If only its query encoder is
trained, documents keep the index's vectors; otherwise the batch's documents are encoded with gradients.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, cast

import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense as Linear
from sentence_transformers.base.modules import Normalize, Router
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from acclimate.base import models
from acclimate.base.files import atomic_folder
from acclimate.base.loading import quiet
from acclimate.base.modules import copies_for_saving
from acclimate.learn.students import sparse, static
from acclimate.learn.students.choices import BATCH, CORPUS, LIST
from acclimate.learn.students.dense import Dense, DenseQuery
from acclimate.learn.students.late_interaction import LateInteraction, LateInteractionQuery
from acclimate.learn.students.student import Student
from acclimate.learn.students.training_data import TrainingData
from acclimate.search.encoder import Encoder

_saving = Lock()  # saving changes global settings of libraries


class Kind(NamedTuple):
    """How a kind of student is made, and its defaults."""

    student: type[Any]  # a Student class, of (encoder, data, negatives) and its own options
    temperature: float  # of the student's softmax
    negatives: str  # the widest choice that needs no additional encoding

    def make(self, encoder: Encoder, data: TrainingData, negatives: str | None = None, **options: Any) -> Student:
        """An untrained student of this encoder. negatives: None for the kind's default."""
        return self.student(encoder, data, negatives or self.negatives, **options)


STUDENTS = {
    "dense": Kind(Dense, 0.05, BATCH),
    "dense-query": Kind(DenseQuery, 0.05, CORPUS),
    "late-interaction": Kind(LateInteraction, 0.03, LIST),
    "late-interaction-query": Kind(LateInteractionQuery, 0.03, LIST),
    "sparse": Kind(sparse.Sparse, 3.0, BATCH),
    "sparse-query": Kind(sparse.SparseQueryOnly, 3.0, BATCH),
    "static": Kind(static.Static, 0.05, CORPUS),
}


def save(student: Student, base: Encoder, path: Path, *, dim: int = 0) -> None:
    """Save in a folder that plain `SentenceTransformer`, `MultiVectorEncoder` or `SparseEncoder` loads.

    If only the query encoder was trained, `encode_query` and plain `encode` use it, and `encode_document` the base.
    `dim` truncates dense vectors; 0 does not.
    """
    with _saving, quiet(), atomic_folder(path) as folder:
        if isinstance(student, sparse.Sparse):
            sparse.save(student.encoder, folder)
        elif isinstance(student, static.Static):
            static.save(student.encoder, folder)
        else:
            _save_encoder(student, base, folder, dim)


def _save_encoder(student: Student, base: Encoder, path: Path, dim: int) -> None:
    learner = cast(Encoder, student.encoder)
    modules = _modules(learner.model, student.kind, dim)
    if student.keeps_index:
        documents = _modules(base.model, student.kind, dim)
        router: Any = Router.for_query_document(modules, documents, default_route="query")
        modules = [router]
    library_class = SentenceTransformer if student.kind == "dense" else MultiVectorEncoder
    prompts: dict[str, str] = {**learner.prompts}
    model = library_class(modules=modules, prompts=prompts, device=models.device())
    model.save_pretrained(str(path), create_model_card=False)


def _modules(model: SentenceTransformer | MultiVectorEncoder, kind: str, dim: int = 0) -> list[Any]:
    if kind != "dense":
        return token_modules(model)
    modules, whole = copies_for_saving(list(model)), model.get_embedding_dimension()
    return [*modules, *_cut(whole, dim)] if dim and whole else modules


def token_modules(model: SentenceTransformer | MultiVectorEncoder) -> list[Any]:
    """Copies of the modules that give a model's token vectors for late interaction."""
    modules = copies_for_saving(list(model))
    if isinstance(model, MultiVectorEncoder):
        return modules
    special = [str(token) for token in model.tokenizer.all_special_tokens]
    mask = MultiVectorMask(skiplist_words=special, skiplist_tasks=["query", "document"])
    return [modules[0], mask, Normalize("token_embeddings", "token_embeddings")]


def _cut(whole: int, dim: int) -> list[Any]:
    """Modules that truncate vectors to `dim`, as `truncate_dim` is not saved with a model."""
    same = torch.nn.Identity()
    return [Linear(whole, dim, bias=False, activation_function=same, init_weight=torch.eye(dim, whole)), Normalize()]
