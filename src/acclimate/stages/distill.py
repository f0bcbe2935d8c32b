"""The teacher's judgement goes into fast retrievers: KL divergence, and a share of InfoNCE for the source document.

One loop serves every kind of student: `students.training` is the loop, `students.kinds` what differs, `students.losses`
what is taught.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from acclimate.base import distributed, models
from acclimate.base.domains import Above, AtLeast, Between, OneOf
from acclimate.base.errors import SettingError
from acclimate.base.lazy import Lazy
from acclimate.base.progress import Progress
from acclimate.corpus.near_duplicates import NearDuplicateDocs
from acclimate.learn.students.checks import check_dims, check_fits, check_negatives, check_scale, check_students
from acclimate.learn.students.distillation import (
    AUTO,
    BEST,
    CONTRASTIVE,
    RANDOM,
    Notes,
    Sides,
    forget_notes,
    train_students,
    untaught,
)
from acclimate.learn.students.tuning import tune_students
from acclimate.records import NWay
from acclimate.run.estimate import SEARCHING, Estimate
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import ENCODER
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked, settings_of
from acclimate.search import measuring
from acclimate.search.names import STUDENT_KINDS, SystemName
from acclimate.search.scales import NONE
from acclimate.search.students import Students
from acclimate.stages.filter import Filtered
from acclimate.stages.index import Indexed
from acclimate.stages.label import Labeled, lists_per_query
from acclimate.stages.mine import Mined
from acclimate.stages.sample import Sampled
from acclimate.stages.steer import Steered
from acclimate.stages.trials import trials

if TYPE_CHECKING:
    from acclimate.learn.students.lesson import Lesson
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import Member

LOSSES = ("kl", "margin-mse", CONTRASTIVE)
SCHEDULES = ("linear", "constant")
NEGATIVES = (AUTO, "list", "batch", "corpus")
MAX_SIM = ("mean", "sum")
_LEARNING = 30  # times as much as searching for a query, with all its documents


@checked
def distill(
    train: Sequence[NWay],
    dev: Sequence[NWay],
    encoder: Encoder,
    lesson: Lesson,
    folder: Path,
    later: Sequence[Sequence[Sequence[NWay]]] = (),
    is_raw: bool = False,
    *,
    student: Annotated[tuple[str, ...], OneOf(STUDENT_KINDS)] = ("dense-query", "late-interaction-query"),
    base: str = "embedded:all-minilm-l6-v2",
    epochs: Annotated[int, Between(0, 10_000)] = 3,
    max_steps: Annotated[int, AtLeast(0)] = 0,
    evaluations: Annotated[int, Between(0, 10_000)] = 0,
    learning_rate: Annotated[float, Above(0, 1)] = 4e-5,
    schedule: Annotated[str, OneOf(SCHEDULES)] = "linear",
    batch_size: Annotated[int, Between(1, 1_000_000)] = 16,
    document_ways: Annotated[int, Between(2, 100_000)] = 8,
    token_ways: Annotated[int, Between(2, 100_000)] = 20,
    ways_by: Annotated[str, OneOf((BEST, RANDOM))] = BEST,
    negatives: Annotated[str, OneOf(NEGATIVES)] = AUTO,
    loss: Annotated[str, OneOf(LOSSES)] = "kl",
    teacher_temperature: Annotated[float, Between(0.0001, 10_000)] = 0.06,
    student_temperature: Annotated[float, Between(0.0001, 10_000, besides=(0,))] = 0.0,
    max_sim: Annotated[str, OneOf(MAX_SIM)] = "mean",
    contrastive: Annotated[float, Between(0, 1)] = 0.3,
    contrastive_temperature: Annotated[float, Between(0.0001, 10_000, besides=(0,))] = 0.0,
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
) -> Notes:
    """Train the students: retrievers that learn from the teacher's scores.

    Each goes into `folder/KIND`; by kind, how its training went. `train` and `dev` hold teacher scores in [0, 1], or on
    the teacher's own scale where that is said (`is_raw`), the source document first; of one query there may be several
    lists. `encoder` is `base`, which stays as it is. `later` has such a pair for every further teacher that students
    learn from in turn. Raises SettingError for two students of one kind, DataError without examples or teacher scores.

    Parameters
    ----------
    student
        Which retrievers to train: dense, late-interaction, sparse (SPLADE), or dense-query, late-interaction-query,
        sparse-query (the query side only, the index stays valid), or static (the dense index stays valid). Queries of
        sparse and static ones need no transformer.
    base
        Encoder that is adapted, and compared with.
    epochs
        Times that every list is read, where max_steps does not say when to stop.
    max_steps
        Exactly so many steps of batch_size lists, whatever number of lists there is: each is read once before any is
        read twice. 0: by epochs.
    evaluations
        Times that the loss on held-out queries is taken; the weights kept are those where it was lowest, of the start
        too. 0: after every epoch, or ten times by steps; 1: at the end, whose weights are kept.
    learning_rate
        AdamW's learning rate, or its peak.
    schedule
        linear (a tenth of the steps up to the peak, then down to nothing) or constant.
    batch_size
        Lists per step, of a query each.
    document_ways
        Documents of a list that students read whose documents change as they learn, the source document among them.
    token_ways
        The same for students that compare token vectors with those of the index.
    ways_by
        Which ones: best (by the teacher's score), or random (others each time: GPL reads 2 at random).
    negatives
        Documents that share a softmax with those of a list: list (none), batch (those of the other lists of a step),
        corpus (all; for students that keep the dense index), or auto (corpus, else batch; list for late interaction
        that has a teacher).
    loss
        How the student follows the teacher: kl (the distribution over the list), margin-mse (the margins between
        source document and others); or contrastive (InfoNCE over mined documents and those of the batch: no teacher).
    teacher_temperature
        Divides the teacher's scores, which lie in [0, 1] unless label.normalize is none: lower is sharper.
    student_temperature
        Divides the student's similarities; 0 is what suits its kind.
    max_sim
        Similarity of late interaction over the query's tokens, before that: mean, or sum (as ColBERT; it suits 1).
    contrastive
        Share of InfoNCE in the loss, which is towards the source document whatever the teacher says, 0 to 1.
    contrastive_temperature
        Divides the student's similarities in InfoNCE; 0 is student_temperature.
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
    given = locals()
    settings = {name: given[name] for name in settings_of(distill)}
    return train_students(
        train, dev, encoder, lesson, folder, later, is_raw, settings=settings, seed=seed, progress=progress
    )


_NOT_TUNED = ("student", "base", "tune", "max_active_dims")  # the last one is of the index, which is made outside
TUNABLE = {name: setting for name, setting in settings_of(distill).items() if name not in _NOT_TUNED}


class Distilled(StageOutput):
    """Students, and the indexes of those whose documents are not the base's."""

    stage = "distill"

    def members(self, run: Run) -> Lazy[Member]:
        """The students as members of systems, `KIND:adapted`; sparse and static ones also as they started."""
        return self.students(run).members()

    def students(self, run: Run) -> Students:
        """The students, with their indexes."""
        return replace(_students(run, self.folder, self.notes), index_folder=run.updated_folder)


def check(run: Run, *, asks: bool) -> None:
    """Raises SettingError for students that the base cannot begin, and for values to try that cannot be.

    asks: see `chain.check`.
    """
    settings, base = run.settings["distill"], run.settings["distill"]["base"]
    check_students(settings["student"])
    tried = trials(settings["tune"], settings, TUNABLE)
    for trial in tried:
        changed = {**settings, **trial}
        check_negatives(run.settings["mine"]["n_ways"], **changed)
        check_scale(is_raw=run.settings["label"]["normalize"] == NONE and changed["loss"] != CONTRASTIVE, **changed)
    if len(tried) > 1 and distributed.size() > 1:
        raise SettingError("distill.tune takes one process; start this run without torchrun or accelerate launch")
    if asks or models.resolve(base).is_local:
        check_fits(settings["student"], base, is_late_interaction=models.is_late_interaction(models.folder(base)))
        tried = [{**settings, **trial} for trial in tried]
        if not run.workspace.is_made("distill") and any(trial["dim"] or trial["matryoshka"] for trial in tried):
            for trial in tried:
                check_dims(trial["dim"], trial["matryoshka"], run.base.encoder.dim)


def estimate(run: Run, n_queries: float) -> Estimate:
    """Of training each student, and reading what it learns from."""
    settings = run.settings["distill"]
    if settings["loss"] != CONTRASTIVE:
        n_queries *= lists_per_query(run)
    n_read = settings["max_steps"] * settings["batch_size"] or n_queries * settings["epochs"]
    return Estimate(_LEARNING * SEARCHING * n_read * len(settings["student"]))


def make(
    run: Run,
    indexed: Indexed,
    sampled: Sampled,
    filtered: Filtered,
    steered: Steered,
    labeled: Labeled | None,
    mined: Mined | None,
) -> Distilled:
    """Train students on the lists that the teacher rated, or else on mined ones, and index what they changed."""
    is_taught = run.settings["distill"]["loss"] != CONTRASTIVE
    lists = labeled if is_taught else mined
    assert lists is not None  # the chain makes what is read here

    def work(folder: Path, progress: Progress) -> Account:
        from acclimate.learn.students.lesson import Lesson

        base = run.base
        logged = labeled.log_queries if labeled and is_taught else []
        texts = {query.query_id: query.text for query in (*filtered.queries, *logged)}
        copies = None if is_taught else NearDuplicateDocs(run.input.corpus, run.settings["sample"]["near_duplicates"])
        lesson = Lesson(texts, run.input.corpus, base.ids, base.vectors, copies)
        (train, dev), *later = lists.turns if isinstance(lists, Labeled) else [_mined_sides(lists, sampled, filtered)]
        is_raw = isinstance(lists, Labeled) and lists.is_raw
        held_out = steered.choosing(run, sampled)

        def learned(settings: Mapping[str, Any], into: Path) -> Notes:
            return distill(
                train, dev, base.encoder, lesson, into, later, is_raw, seed=run.seed, progress=progress, **settings
            )

        def reached(into: Path, notes: Notes) -> dict[str, float]:
            notes = _students(run, into, notes).index()
            members = base.members | _students(run, into, notes).members()
            retrievers = {kind: measuring.member_alone(base.ids, members, SystemName(kind).adapted()) for kind in notes}
            return {kind: held_out.mean(measuring.ndcg(retriever, held_out)) for kind, retriever in retrievers.items()}

        settings = run.settings["distill"]
        notes = tune_students(folder, settings, trials(settings["tune"], settings, TUNABLE), learned, reached)
        if distributed.is_main():
            with distributed.helped():  # the others have learned, and wait
                notes = _students(run, folder, notes).index()
            forget_notes(folder)
        n_queries = len({example.query_id for example in train})
        n_kept = min(note["queries"] for note in notes.values())
        return Account(n_queries, n_kept, {"not drawn": n_queries - n_kept}, notes=notes)

    inputs = {
        **{output.name: output.fingerprint for output in (sampled, filtered, steered, lists, indexed)},
        **run.read(*ENCODER),
        DOCUMENTS: run.input.corpus.fingerprint,
    }
    if isinstance(lists, Labeled):
        inputs["notes of label"] = lists.noted("turns", "scale")
    else:
        inputs |= run.read("sample.near_duplicates")
    if run.settings["distill"]["tune"]:
        inputs["dev"] = run.input.labels.choosing.fingerprint
    return run.make(Distilled, work, inputs=inputs, unit="steps", together=True)


def _mined_sides(mined: Mined, sampled: Sampled, filtered: Filtered) -> Sides:
    """The mined examples of the queries that teach and of those that choose."""
    sides = filtered.sides(sampled)
    train, dev = ({query.query_id for query in sides[side]} for side in ("train", "dev"))
    examples = untaught(mined.examples)
    return [each for each in examples if each.query_id in train], [each for each in examples if each.query_id in dev]


def _students(run: Run, folder: Path, notes: Notes) -> Students:
    limits = run.settings["index"]["max_tokens"], run.settings["distill"]["max_active_dims"]
    return Students(folder, notes, lambda: run.base.vectors, run.input.corpus, *limits)
