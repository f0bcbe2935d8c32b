"""Train students on the lists scored by a teacher, or by several teachers in turn.

Batches of students that train only queries are too small to be divided among cores: such students train in parallel,
each on a core, the others one after the other. A finished student leaves its notes beside its folder, so an interrupted
run does not train it again while others train or documents are indexed; the caller ends with `remove_notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

from acclimate.base import cores, distributed
from acclimate.base.digests import fingerprint
from acclimate.base.draw import subset
from acclimate.base.errors import DataError
from acclimate.base.files import read_state, write_json
from acclimate.base.text import counted
from acclimate.learn.students.checks import check_dims, check_encoder, check_negatives, check_scale, check_students
from acclimate.records import NWay
from acclimate.search.names import KINDS_WITHOUT_BASE, STUDENT_KINDS

if TYPE_CHECKING:
    from acclimate.learn.students.training_data import Sides, TrainingData
    from acclimate.search.encoder import Encoder

_NOTES = ".learned.json"  # suffix of a student's notes, until all is done
Notes = dict[str, dict[str, Any]]  # kind of student -> notes on its training


def train_students(
    turns: Sequence[Sides],
    encoder: Encoder,
    data: TrainingData,
    folder: Path,
    is_raw: bool = False,
    *,
    settings: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> Notes:
    """Train each student into `folder/KIND`, unless an interrupted run finished it; see `stages.distill`.

    settings: of `stages.distill`, and the seed. Raises SettingError for invalid students, DataError without examples or
    teacher scores.
    """
    from acclimate.learn.students.train_student import Distillation, remove_states, train_student

    check_dims(settings["dim"], settings["matryoshka"], encoder.dim)
    check_students(settings["student"])
    check_negatives(max((len(example.doc_ids) for example in turns[0][0]), default=0), **settings)
    check_encoder(settings["student"], settings["base"], encoder)
    check_scale(is_raw=is_raw, **settings)
    _check_lists(turns, is_raw)
    if n_queries := settings["max_queries"]:
        turns = [(_sampled(lists, n_queries, settings["seed"]), checks) for lists, checks in turns]
    made_of = [encoder.fingerprint, *(sorted(map(fingerprint, lists)) for turn in turns for lists in turn)]
    distillation = Distillation(turns, encoder, data, settings)
    names, caller = settings["student"], get_ident()
    steps_done = dict.fromkeys(names, 0)
    n_steps = len(names) * sum(distillation.steps)

    def report() -> None:
        progress(sum(steps_done.values()), n_steps)

    def learn(name: str) -> dict[str, Any]:
        def step(done: int) -> None:
            steps_done[name] = done
            if get_ident() == caller:
                report()

        kind, key = STUDENT_KINDS[name], fingerprint(name, settings, made_of)
        learned = distributed.broadcast(read_state(folder / f"{kind}{_NOTES}", key))
        if not learned:
            learned = {"key": key, "note": train_student(name, distillation, folder, step)}
            if distributed.is_main():
                write_json(folder / f"{kind}{_NOTES}", learned)
                remove_states(folder, kind)
        steps_done[name] = learned["note"]["steps"]
        return learned["note"]

    at_once = _parallel_students(names, encoder)
    notes = dict(zip(at_once, cores.parallel_map(learn, at_once, meanwhile=report), strict=True))
    if at_once:
        report()
    notes |= {name: learn(name) for name in names if name not in notes}
    return {STUDENT_KINDS[name]: notes[name] for name in names}


def _parallel_students(names: Sequence[str], encoder: Encoder) -> list[str]:
    """The students to train in parallel; empty if that does not pay."""
    from acclimate.learn.students.kinds import STUDENTS

    small = [name for name in names if STUDENTS[name].student.keeps_index]
    is_worth_it = len(small) > 1 and distributed.size() == 1 and cores.uses_single_core(encoder.token_dim)
    return small if is_worth_it else []


def unimproved_warnings(notes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Warnings about students that training did not improve, and that keep their initial weights."""
    return [
        f"{kind}:adapted learned nothing from queries: on held-out ones its loss was never lower than before, so the "
        f"initial weights are kept. Try more queries (sample.n_docs, generate.per_doc) or a lower distill.{rate}."
        for kind, note in notes.items()
        if note.get("best_epoch") == 0 and not any(note.get("best_epoch_before", ()))
        for rate in ["table_learning_rate" if kind in KINDS_WITHOUT_BASE else "learning_rate"]
    ]


def remove_notes(folder: Path) -> None:
    """Remove the notes of finished students in this folder."""
    for path in folder.glob(f"*{_NOTES}"):
        path.unlink()


def without_teacher_scores(examples: Sequence[NWay]) -> list[NWay]:
    """Examples with labels instead of teacher scores, for InfoNCE: only the first document is relevant."""
    return [example._replace(scores=(1.0, *[0.0] * (len(example.doc_ids) - 1))) for example in examples]


def _sampled(lists: Sequence[NWay], n_queries: int, seed: int) -> list[NWay]:
    """The lists of `n_queries` queries, drawn by id, independently of those that rerankers are trained on."""
    by_query = {example.query_id: example for example in lists}
    drawn = {example.query_id for example in subset(list(by_query.values()), n_queries, f"{seed}:distill")}
    return [example for example in lists if example.query_id in drawn]


def _check_lists(turns: Sequence[Sides], is_raw: bool) -> None:
    """Raises DataError for lists without any signal."""
    for train, dev in turns:
        if not train or not dev:
            raise DataError(
                f"{len(train)} training and {counted(len(dev), 'held-out list')}; expected both (more documents?)"
            )
        if any(len(example.scores) != len(example.doc_ids) for example in (*train, *dev)):
            raise DataError("a training example without teacher scores; label comes before distill")
    scores = [score for turn in turns for side in turn for example in side for score in example.scores]
    if not is_raw and (min(scores) < 0 or max(scores) > 1):
        raise DataError(f"teacher scores from {min(scores):g} to {max(scores):g}; expected them in [0, 1]: see label")
