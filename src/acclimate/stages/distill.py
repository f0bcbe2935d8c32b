"""The teacher's judgement goes into fast retrievers: KL divergence, and a share for the source document itself.

The target is the softmax of the teacher's scores, with a share set aside for the source document. One loop serves every
kind of student: `students.course` is the loop, `students.kinds` what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.errors import DataError, SettingError, unknown
from acclimate.files import fingerprint
from acclimate.records import NWay
from acclimate.students import KINDS

if TYPE_CHECKING:
    from acclimate.retrieve.encoder import Encoder
    from acclimate.students.kinds import Lesson


def distill(
    train: Sequence[NWay],
    dev: Sequence[NWay],
    encoder: Encoder,
    lesson: Lesson,
    folder: Path,
    *,
    student: tuple[str, ...] = ("dense-query", "late-interaction-query"),
    base: str = "embedded:all-minilm-l6-v2",
    epochs: int = 3,
    learning_rate: float = 4e-5,
    batch_size: int = 16,
    document_ways: int = 8,
    token_ways: int = 20,
    teacher_temperature: float = 0.06,
    contrastive: float = 0.3,
    max_queries: int = 0,
    tune: tuple[str, ...] = (),
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """Train each named student from the teacher's scores into `folder/KIND`. Returns, by kind, how it went.

    `train` and `dev` hold teacher scores, the source document first; `encoder` is `base`, which stays as it is.
    Raises SettingError for an unknown student or two of one kind, DataError without examples or teacher scores.

    Parameters
    ----------
    student
        Which retrievers to train: dense, dense-query, late-interaction, late-interaction-query (query: the query
        encoder only, the index stays valid).
    base
        Encoder that is adapted, and compared with.
    epochs
        Times that every query is seen, at most; the best epoch is kept.
    learning_rate
        Peak of AdamW's learning rate.
    batch_size
        Queries per step.
    document_ways
        Documents per query for students that encode documents as they learn; the best by the teacher's score.
    token_ways
        The same for students that compare token vectors with those of the index.
    teacher_temperature
        Divides the teacher's scores, which lie in [0, 1]: lower is sharper.
    contrastive
        Share of the target that goes to the source document whatever the teacher says, 0 to 1.
    max_queries
        Train on this many queries at most, drawn by the seed; 0: on all.
    tune
        Values to try, setting:value:value; those of one more setting after a comma. Each student is trained with every
        combination, and the one that does best on held-out queries is kept.
    """
    from acclimate.students.course import Course
    from acclimate.students.kinds import STUDENTS, save

    check_students(student)
    if not train or not dev:
        raise DataError(f"{len(train)} training and {len(dev)} held-out queries; expected both (more documents?)")
    if not 0 <= contrastive <= 1 or teacher_temperature <= 0:
        raise SettingError("distill.contrastive must be in [0, 1] and distill.teacher_temperature above 0")
    if any(len(example.scores) != len(example.doc_ids) for example in (*train, *dev)):
        raise DataError("a training example without teacher scores; label comes before distill")

    if max_queries:
        train = nested(train, max_queries, seed)
    steps = epochs * -(-len(train) // batch_size)
    notes: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(student):
        make, temperature = STUDENTS[name]
        learner = make(encoder.copy(), lesson, temperature)
        ways = None if learner.sees_corpus else token_ways if learner.keeps_index else document_ways
        course = Course(
            learner,
            [_shortened(example, ways) for example in train],
            [_shortened(example, ways) for example in dev],
            folder / f"{learner.kind}.state",
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            temperature=teacher_temperature,
            contrastive=contrastive,
            seed=seed,
        )
        history = course.run(lambda step, at=number: progress(at * steps + step, len(student) * steps))
        save(learner, encoder, folder / learner.kind)
        course.state_path.unlink(missing_ok=True)
        notes[learner.kind] = {
            "student": name,
            "keeps_index": learner.keeps_index,
            "dev_loss": history,
            "best_epoch": min(range(len(history)), key=history.__getitem__),
            "queries": len(train),
        }
    return notes


def nested(examples: Sequence[NWay], count: int, seed: int) -> list[NWay]:
    """`count` of the examples, or all when there are fewer, drawn by query id: fewer are always among more."""
    drawn = sorted(examples, key=lambda example: fingerprint(seed, example.query_id))
    return drawn[:count]


def check_students(names: Sequence[str]) -> None:
    """Raises SettingError for a student that does not exist, and for two that would have one name when adapted."""
    for name in names:
        if name not in KINDS:
            raise unknown("student", name, KINDS)
    kinds = [KINDS[name] for name in names]
    if not names or len(kinds) != len(set(kinds)):
        raise SettingError(f"distill.student is {','.join(names)!r}; expected one or more, of different kinds")


def _shortened(example: NWay, ways: int | None) -> NWay:
    """The source document and the `ways - 1` others that the teacher rates highest."""
    if ways is None or len(example.doc_ids) <= ways:
        return example
    others = sorted(range(1, len(example.doc_ids)), key=lambda at: (-example.scores[at], example.doc_ids[at]))
    kept = [0, *others[: ways - 1]]
    return NWay(example.query_id, tuple(example.doc_ids[at] for at in kept), tuple(example.scores[at] for at in kept))
