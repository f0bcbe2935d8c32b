"""The teacher's judgement goes into fast retrievers: KL divergence, and a share of InfoNCE for the source document.

One loop serves every kind of student: `students.training` is the loop, `students.kinds` what differs, `students.losses`
what is taught.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from acclimate.base import distributed
from acclimate.base.domains import Above, AtLeast, Between, OneOf
from acclimate.base.draw import subset
from acclimate.base.errors import DataError, SettingError
from acclimate.records import NWay
from acclimate.run.settings import checked
from acclimate.search.names import KINDS_WITHOUT_BASE, STUDENT_KINDS

if TYPE_CHECKING:
    from acclimate.learn.students.lesson import Lesson
    from acclimate.search.encoder import Encoder

LOSSES = ("kl", "margin-mse")


@checked
def distill(
    train: Sequence[NWay],
    dev: Sequence[NWay],
    encoder: Encoder,
    lesson: Lesson,
    folder: Path,
    later: Sequence[Sequence[Sequence[NWay]]] = (),
    *,
    student: Annotated[tuple[str, ...], OneOf(STUDENT_KINDS)] = ("dense-query", "late-interaction-query"),
    base: str = "embedded:all-minilm-l6-v2",
    epochs: Annotated[int, Between(0, 10_000)] = 3,
    learning_rate: Annotated[float, Above(0, 1)] = 4e-5,
    batch_size: Annotated[int, Between(1, 1_000_000)] = 16,
    document_ways: Annotated[int, Between(2, 100_000)] = 8,
    token_ways: Annotated[int, Between(2, 100_000)] = 20,
    loss: Annotated[str, OneOf(LOSSES)] = "kl",
    teacher_temperature: Annotated[float, Between(0.0001, 10_000)] = 0.06,
    student_temperature: Annotated[float, Between(0.0001, 10_000, besides=(0,))] = 0.0,
    contrastive: Annotated[float, Between(0, 1)] = 0.3,
    mask_above: Annotated[float, Above(0)] = 1.0,
    table_learning_rate: Annotated[float, Above(0, 100)] = 1e-3,
    sparsity: Annotated[float, Between(0, 1000)] = 1e-3,
    max_active_dims: Annotated[int, AtLeast(0)] = 256,
    matryoshka: Annotated[tuple[int, ...], Between(1, 1_000_000)] = (),
    dim: Annotated[int, Between(0, 1_000_000)] = 0,
    max_queries: Annotated[int, AtLeast(0)] = 0,
    tune: tuple[str, ...] = (),
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Any]]:
    """Train each named student from the teacher's scores into `folder/KIND`. Returns, by kind, how it went.

    `train` and `dev` hold teacher scores in [0, 1], the source document first; `encoder` is `base`, which stays as it
    is. `later` has such a pair for every further teacher that students learn from in turn.
    Raises SettingError for two students of one kind, DataError without examples or teacher scores.

    Parameters
    ----------
    student
        Which retrievers to train: dense, late-interaction, sparse (SPLADE), or dense-query, late-interaction-query,
        sparse-query (the query side only, the index stays valid), or static (the dense index stays valid). Queries of
        sparse and static ones need no transformer.
    base
        Encoder that is adapted, and compared with.
    epochs
        Times that every query is seen, at most; the best epoch is kept.
    learning_rate
        Peak of AdamW's learning rate.
    batch_size
        Queries per step.
    document_ways
        Documents per query for students whose documents change as they learn; the best by the teacher's score.
    token_ways
        The same for students that compare token vectors with those of the index.
    loss
        How the student follows the teacher: kl (the distribution over the list) or margin-mse (the margins between
        source document and others).
    teacher_temperature
        Divides the teacher's scores, which lie in [0, 1]: lower is sharper.
    student_temperature
        Divides the student's similarities; 0 is what suits its kind.
    contrastive
        Share of InfoNCE in the loss, which is towards the source document whatever the teacher says, 0 to 1.
    mask_above
        InfoNCE passes over documents that the teacher rates above this share of the source document's score, as
        suspected false negatives; 1 or more passes over none.
    table_learning_rate
        Peak learning rate of sparse and static students, whose weights are tables by token.
    sparsity
        Weight of the sparse student's penalty on how much its documents' weights add to searching (FLOPS).
    max_active_dims
        Tokens that a document of the sparse index keeps a weight for, at most; 0 keeps all.
    matryoshka
        Lengths that dense students learn beside the whole, such as 64,128: vectors that may be cut there.
    dim
        Components that the index of a dense student keeps; 0 keeps all.
    max_queries
        Train on this many queries at most, drawn by the seed; 0: on all.
    tune
        Values to try, setting:value:value; those of one more setting after a comma. Each student is trained with every
        combination, and the one that does best on held-out queries is kept.
    """
    from acclimate.learn.students.kinds import STUDENTS, save
    from acclimate.learn.students.losses import DistillationLoss
    from acclimate.learn.students.sparse import Sparse
    from acclimate.learn.students.static import Static
    from acclimate.learn.students.training import StudentTraining

    check_dims(dim, matryoshka, encoder.dim)
    check_students(student)
    check_encoder(student, base, encoder)
    if not train or not dev:
        raise DataError(f"{len(train)} training and {len(dev)} held-out queries; expected both (more documents?)")
    if any(len(example.scores) != len(example.doc_ids) for example in (*train, *dev)):
        raise DataError("a training example without teacher scores; label comes before distill")
    turns = [(train, dev), *later]
    scores = [score for turn in turns for side in turn for example in side for score in example.scores]
    if min(scores) < 0 or max(scores) > 1:
        raise DataError(f"teacher scores from {min(scores):g} to {max(scores):g}; expected them in [0, 1]: see label")

    if max_queries:
        train = subset(train, max_queries, seed)
        turns = [(train, dev), *((subset(more, max_queries, seed), checks) for more, checks in later)]
    steps = epochs * -(-len(train) // batch_size) * len(turns)
    notes: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(student):
        make, temperature = STUDENTS[name]
        own: dict[str, Any] = {"sparse": {"sparsity": sparsity}}.get(STUDENT_KINDS[name], {})
        if STUDENT_KINDS[name] == "dense":
            own = {"dims": tuple(sorted({*matryoshka, *((dim,) if dim else ())} - {encoder.dim}))}
        learner = make(encoder.copy(), lesson, student_temperature or temperature, **own)
        if learner.kind in KINDS_WITHOUT_BASE and distributed.is_main():
            save(learner, encoder, folder / f"{learner.kind}-start")
        if isinstance(learner, Static):
            learner.warm_up()
        ways = None if learner.sees_corpus else token_ways if learner.keeps_index else document_ways
        states = [folder / f"{learner.kind}-{turn}.state" for turn in range(len(turns))]
        history: list[float] = []
        for turn, (sides, state) in enumerate(zip(turns, states, strict=True)):
            training = StudentTraining(
                learner,
                [_shortened(example, ways) for example in sides[0]],
                [_shortened(example, ways) for example in sides[1]],
                DistillationLoss(loss, teacher_temperature, contrastive, mask_above),
                state,
                epochs=epochs,
                learning_rate=table_learning_rate if learner.kind in KINDS_WITHOUT_BASE else learning_rate,
                batch_size=batch_size,
                seed=seed,
            )
            before = number * steps + turn * steps // len(turns)
            history = training.run(lambda step, before=before: progress(before + step, len(student) * steps))
        cut = dim if learner.kind == "dense" and dim < encoder.dim else 0
        if distributed.is_main():
            save(learner, encoder, folder / learner.kind, dim=cut)
            for state in states:
                state.unlink(missing_ok=True)
        notes[learner.kind] = {
            "student": name,
            "keeps_index": learner.keeps_index,
            "dev_loss": history,
            "best_epoch": min(range(len(history)), key=history.__getitem__),
            "queries": len(train),
            **({"query_dims": round(learner.query_dims(), 1)} if isinstance(learner, Sparse) else {}),
            **({"dim": cut, "trained_dims": own["dims"]} if learner.kind == "dense" and own["dims"] else {}),
        }
    return notes


def check_students(names: Sequence[str]) -> None:
    """Raises SettingError for no student, and for two that would have one name when adapted."""
    kinds = [STUDENT_KINDS[name] for name in names]
    if not names or len(kinds) != len(set(kinds)):
        raise SettingError(f"distill.student is {','.join(names)!r}; expected one or more, of different kinds")


def check_fits(names: Sequence[str], base: str, *, is_late_interaction: bool) -> None:
    """Raises SettingError for students that a late-interaction model cannot begin."""
    others = [name for name in names if STUDENT_KINDS[name] != "late-interaction"]
    if is_late_interaction and others:
        raise SettingError(
            f"{base} is a late-interaction model, which no {others[0]} student begins from; set "
            "distill.student=late-interaction-query, or late-interaction"
        )


def check_encoder(names: Sequence[str], base: str, encoder: Encoder) -> None:
    """Raises SettingError for students that this encoder, which is called `base`, cannot begin."""
    check_fits(names, base, is_late_interaction=encoder.is_late_interaction)
    if "static" in names and encoder.dim != encoder.token_dim:
        raise SettingError(
            f"{base} makes vectors of {encoder.dim} components of tokens with {encoder.token_dim}, which no static "
            "student begins from; leave static out of distill.student"
        )


def check_dims(dim: int, matryoshka: Sequence[int], whole: int) -> None:
    """Raises SettingError for lengths that vectors of `whole` components cannot be cut to."""
    for name, value in (("dim", dim or whole), *(("matryoshka", value) for value in matryoshka)):
        if not 0 < value <= whole:
            raise SettingError(f"distill.{name} is {value}; the base's vectors have {whole} components")


def _shortened(example: NWay, ways: int | None) -> NWay:
    """The source document and the `ways - 1` others that the teacher rates highest."""
    if ways is None or len(example.doc_ids) <= ways:
        return example
    others = sorted(range(1, len(example.doc_ids)), key=lambda at: (-example.scores[at], example.doc_ids[at]))
    kept = [0, *others[: ways - 1]]
    return NWay(example.query_id, tuple(example.doc_ids[at] for at in kept), tuple(example.scores[at] for at in kept))
