"""Train a dense retriever on synthetic queries alone, for the round-trip filter (Promptagator, arXiv 2209.11755)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.learn.students.choices import AUTO, CONTRASTIVE
from acclimate.learn.students.distillation import train_students
from acclimate.records import NWay, Retriever, SyntheticQuery

if TYPE_CHECKING:
    from acclimate.learn.students.training_data import TrainingData
    from acclimate.search.encoder import Encoder


def trained_retriever(
    queries: Sequence[SyntheticQuery],
    held_out: Collection[str],
    encoder: Encoder,
    data: TrainingData,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    seed: int,
    progress: Callable[[int, int], None],
) -> Retriever:
    """Train a query encoder to find the source documents of these queries.

    held_out: documents whose queries only choose the checkpoint. folder: of the model, which stays there, so that an
    interrupted run does not train it again. settings: of `stages.distill`.
    """
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import DenseMember
    from acclimate.search.system import System

    pairs = [NWay(query.query_id, (query.doc_id,), (1.0,)) for query in queries]
    training = [pair for pair in pairs if pair.doc_ids[0] not in held_out]
    checks = [pair for pair in pairs if pair.doc_ids[0] in held_out]
    settings = {**settings, "student": ("dense-query",), "loss": CONTRASTIVE, "negatives": AUTO}
    settings |= {"max_steps": 0, "max_queries": 0, "dim": 0, "seed": seed}
    train_students([(training, checks)], encoder, data, folder, settings=settings, progress=progress)
    student = Encoder.load_student(folder / "dense", max_tokens=encoder.max_tokens)
    return System(data.ids, {"dense": DenseMember(data.vectors, student)}, ["dense"], {"dense": 1.0})
