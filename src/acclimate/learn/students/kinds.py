"""The retrievers that a teacher's judgement is distilled into, by name, and how they are saved.

A student turns a batch of n-way examples into similarities of their queries and documents. Where only the query encoder
learns, document vectors are those of the index and stay valid; where both sides learn, the batch's documents are
encoded with gradients.
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
from acclimate.learn.students import sparse, static
from acclimate.learn.students.dense import Dense, DenseQuery
from acclimate.learn.students.late_interaction import LateInteraction, LateInteractionQuery
from acclimate.learn.students.lesson import BATCH, CORPUS, LIST, Lesson
from acclimate.learn.students.student import Student
from acclimate.search.encoder import Encoder

_saving = Lock()  # what is said to libraries while they save is said to the whole program


class Kind(NamedTuple):
    """How a student is made, and what suits it where nothing else is asked for."""

    student: type[Any]  # a Student, of (encoder, lesson, negatives), and options of its own
    temperature: float  # of its softmax
    negatives: str  # the widest for which no document is encoded that would not be anyway

    def make(self, encoder: Encoder, lesson: Lesson, negatives: str | None = None, **options: Any) -> Student:
        """A student that is this encoder, untouched. negatives: None: what suits it."""
        return self.student(encoder, lesson, negatives or self.negatives, **options)


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
    """A folder that plain `SentenceTransformer`, `MultiVectorEncoder` or `SparseEncoder` loads.

    Where only the query encoder was trained, `encode_query` and plain `encode` use it, and `encode_document` the
    untouched base. `dim` cuts dense vectors to their first components, 0 does not.
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
    modules, whole = models.copies_for_saving(list(model)), model.get_embedding_dimension()
    return [*modules, *_cut(whole, dim)] if dim and whole else modules


def token_modules(model: SentenceTransformer | MultiVectorEncoder) -> list[Any]:
    """Copies of a model's modules whose token vectors late interaction compares; a bi-encoder has those of words."""
    modules = models.copies_for_saving(list(model))
    if isinstance(model, MultiVectorEncoder):
        return modules
    special = [str(token) for token in model.tokenizer.all_special_tokens]
    mask = MultiVectorMask(skiplist_words=special, skiplist_tasks=["query", "document"])
    return [modules[0], mask, Normalize("token_embeddings", "token_embeddings")]


def _cut(whole: int, dim: int) -> list[Any]:
    """Modules that keep the first `dim` components: models are saved without their `truncate_dim`."""
    same = torch.nn.Identity()
    return [Linear(whole, dim, bias=False, activation_function=same, init_weight=torch.eye(dim, whole)), Normalize()]
