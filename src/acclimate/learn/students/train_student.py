"""Train one student on the lists scored by a teacher, or by several teachers in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base import distributed
from acclimate.base.draw import draw
from acclimate.learn.students.choices import AUTO, BATCH, CONTRASTIVE, CORPUS, LIST, RANDOM
from acclimate.learn.students.kinds import STUDENTS, save
from acclimate.learn.students.losses import DistillationLoss
from acclimate.learn.students.sparse import Sparse
from acclimate.learn.students.static import Static
from acclimate.learn.students.student import Student
from acclimate.learn.students.training import StudentTraining, kept_of, steps_of
from acclimate.learn.students.training_data import Sides, TrainingData
from acclimate.learn.students.used_words import only_words_of
from acclimate.records import NWay
from acclimate.search.encoder import Encoder
from acclimate.search.names import KINDS_WITHOUT_BASE, STUDENT_KINDS

_COURSE = ("epochs", "max_steps", "batch_size")  # settings that determine the number of steps
_STATE = ".state"  # suffix of a file with the state of training


class Distillation(NamedTuple):
    """What every student of a run learns from, and how."""

    turns: Sequence[Sides]  # training and held-out lists of each teacher in turn
    encoder: Encoder  # the base, which is not changed
    data: TrainingData
    settings: Mapping[str, Any]  # of `stages.distill`, and the seed

    @property
    def steps(self) -> list[int]:
        """Optimizer steps per teacher, the same for every student."""
        return [steps_of(len(train), *(self.settings[name] for name in _COURSE)) for train, _ in self.turns]


def train_student(
    name: str, distillation: Distillation, folder: Path, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Train a student into `folder/KIND`; returns notes. progress: called with the number of steps done."""
    turns, encoder, _, settings = distillation
    options = _options(name, settings, encoder.dim)
    student = _untrained(name, distillation, options)
    if student.kind in KINDS_WITHOUT_BASE and distributed.is_main():
        save(student, encoder, folder / f"{student.kind}-start")
    if isinstance(student, Static):
        student.warm_up()
    histories = _learn(student, _loss(name, settings), distillation, folder, progress)
    *before, best_epoch = (kept_of(history, settings["evaluations"]) for history in histories)
    dim = settings["dim"] if student.kind == "dense" and settings["dim"] < encoder.dim else 0
    notes = {
        "student": name,
        "keeps_index": student.keeps_index,
        "dev_loss": histories[-1],
        "best_epoch": best_epoch,
        "steps": sum(distillation.steps),
        "queries": len({example.query_id for example in turns[0][0]}),
        "lists": len(turns[0][0]),
    }
    if before:
        notes["best_epoch_before"] = before
    if isinstance(student, Sparse):
        notes["query_dims"] = round(student.query_dims(), 1)
    if options.get("dims"):
        notes |= {"dim": dim, "trained_dims": options["dims"]}
    if distributed.is_main():
        save(student, encoder, folder / student.kind, dim=dim)
    return notes


def remove_states(folder: Path, kind: str) -> None:
    """Remove what an interrupted training would resume from."""
    for path in folder.glob(f"{kind}-*{_STATE}"):
        path.unlink()


def _untrained(name: str, distillation: Distillation, options: Mapping[str, Any]) -> Student:
    """The student before training. options: of its constructor."""
    _, encoder, data, settings = distillation
    kind, negatives = STUDENTS[name], None if settings["negatives"] == AUTO else settings["negatives"]
    if negatives is None and kind.negatives == LIST and settings["loss"] == CONTRASTIVE:
        negatives = BATCH  # without a teacher, few negatives give little signal
    return kind.make(encoder.copy(), data, negatives, **options)


def _loss(name: str, settings: Mapping[str, Any]) -> DistillationLoss:
    is_summed = STUDENT_KINDS[name] == "late-interaction" and settings["max_sim"] == "sum"
    return DistillationLoss(
        settings["loss"],
        settings["teacher_temperature"],
        1.0 if settings["loss"] == CONTRASTIVE else settings["contrastive"],
        settings["mask_above"],
        settings["student_temperature"] or (1.0 if is_summed else STUDENTS[name].temperature),
        settings["contrastive_temperature"],
        within_list=settings["teacher_negatives"] == LIST,
    )


def _learn(
    student: Student,
    loss: DistillationLoss,
    distillation: Distillation,
    folder: Path,
    progress: Callable[[int], None],
) -> list[list[float]]:
    """Train a student on the lists of each teacher in turn; returns its held-out losses with each."""
    turns, _, data, settings = distillation
    ways = settings["token_ways" if student.keeps_index else "document_ways"]
    rate = "table_learning_rate" if student.kind in KINDS_WITHOUT_BASE else "learning_rate"

    def cut(example: NWay, times: int) -> NWay:
        if student.negatives == CORPUS:  # documents cost nothing
            return example
        return shortened(example, ways, settings["ways_by"], f"{settings['seed']}:{times}")

    histories: list[list[float]] = []
    queries = sorted({data.queries[example.query_id] for turn in turns for side in turn for example in side})
    with only_words_of(student.encoder, queries) if student.keeps_index else nullcontext():
        for turn, (train, dev) in enumerate(turns):
            training = StudentTraining(
                student,
                train,
                dev,
                loss,
                folder / f"{student.kind}-{turn}{_STATE}",
                **{setting: settings[setting] for setting in (*_COURSE, "evaluations", "schedule", "seed")},
                learning_rate=settings[rate],
                cut=cut,
            )
            before = sum(distillation.steps[:turn])
            histories.append(training.run(lambda step, before=before: progress(before + step)))
    return histories


def _options(name: str, settings: Mapping[str, Any], whole: int) -> dict[str, Any]:
    """Constructor options of that student. whole: dimension of the base's vectors."""
    kind = STUDENT_KINDS[name]
    if kind == "sparse":
        return {"sparsity": settings["sparsity"]}
    if kind == "late-interaction":
        return {"max_sim": settings["max_sim"]}
    if kind == "dense":
        lengths = {*settings["matryoshka"], settings["dim"]} - {0, whole}
        return {"dims": tuple(sorted(lengths))}
    return {}


def shortened(example: NWay, ways: int, by: str, seed: str) -> NWay:
    """The first document and `ways - 1` others: those with the highest teacher scores, or random ones."""
    if len(example.doc_ids) <= ways:
        return example

    def key(place: int) -> tuple[float, str]:
        doc_id = example.doc_ids[place]
        return (draw(seed, example.query_id, doc_id) if by == RANDOM else -example.scores[place], doc_id)

    kept = [0, *sorted(range(1, len(example.doc_ids)), key=key)[: ways - 1]]
    return example._replace(
        doc_ids=tuple(example.doc_ids[place] for place in kept), scores=tuple(example.scores[place] for place in kept)
    )
