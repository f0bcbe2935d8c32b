"""The retrievers that a teacher's judgement is distilled into, by name, and how they are saved.

A student turns a batch of n-way examples into log-probabilities of their documents. Where only the query encoder
learns, document vectors are those of the index and stay valid; where both sides learn, the batch's documents are
encoded with gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

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
from acclimate.learn.students.lesson import Lesson, Student
from acclimate.search.encoder import Encoder

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


def save(student: Student, base: Encoder, path: Path, *, dim: int = 0) -> None:
    """A folder that plain `SentenceTransformer`, `MultiVectorEncoder` or `SparseEncoder` loads.

    Where only the query encoder was trained, `encode_query` and plain `encode` use it, and `encode_document` the
    untouched base. `dim` cuts dense vectors to their first components, 0 does not.
    """
    with quiet(), atomic_folder(path) as folder:
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
