"""Dense retrieval that learned from synthetic queries alone, to tell which of them find their document (Promptagator,
arXiv 2209.11755): no teacher has read them yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.learn.students.distillation import AUTO, CONTRASTIVE, train_students
from acclimate.records import Doc, NWay, Retriever, SyntheticQuery

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import Ids
    from acclimate.search.vectors import Vectors


def trained_retriever(
    queries: Sequence[SyntheticQuery],
    held_out: Collection[str],
    corpus: Mapping[str, Doc],
    ids: Ids,
    vectors: Vectors,
    encoder: Encoder,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    seed: int,
    progress: Callable[[int, int], None],
) -> Retriever:
    """A retriever whose query encoder learned, from these queries, to find their source documents.

    held_out: documents whose queries only say when to stop. folder: where it is made, and stays: it is trained once,
    however often what follows is interrupted. settings: those of `stages.distill`.
    """
    from acclimate.learn.students.lesson import Lesson
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import DenseMember
    from acclimate.search.system import System

    lesson = Lesson({query.query_id: query.text for query in queries}, corpus, ids, vectors)
    pairs = [NWay(query.query_id, (query.doc_id,), (1.0,)) for query in queries]
    training = [pair for pair in pairs if pair.doc_ids[0] not in held_out]
    checks = [pair for pair in pairs if pair.doc_ids[0] in held_out]
    settings = {**settings, "student": ("dense-query",), "loss": CONTRASTIVE, "negatives": AUTO}
    settings |= {"max_steps": 0, "max_queries": 0}
    train_students(training, checks, encoder, lesson, folder, settings=settings, seed=seed, progress=progress)
    student = Encoder.load_student(folder / "dense", max_tokens=encoder.max_tokens)
    return System(ids, {"dense": DenseMember(vectors, student)}, ["dense"], {"dense": 1.0})
