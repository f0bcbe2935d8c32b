"""Distill the teacher into fast retrievers: KL divergence on its scores, plus some InfoNCE on the source document.

One training loop serves every kind of student: `students.training` is the loop, `students.kinds` holds what differs
between kinds, `students.losses` the losses.
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
from acclimate.learn.students.choices import AUTO, BATCH, BEST, CONTRASTIVE, CORPUS, LIST, RANDOM
from acclimate.learn.students.distillation import Notes, remove_notes, train_students, without_teacher_scores
from acclimate.learn.students.tuning import tune_students
from acclimate.run.estimate import SEARCH_FLOP, TRAINING_FACTOR, Estimate, token_flop
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
    from acclimate.learn.students.training_data import Sides, TrainingData
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import Member

LOSSES = ("kl", "margin-mse", CONTRASTIVE)
NEGATIVES = (AUTO, LIST, BATCH, CORPUS)
MAX_SIM = ("mean", "sum")
_LEARNING = 30  # cost of a training query with all its documents, in searches
_ENCODING = ("dense", "late-interaction")  # students that encode documents in each step, and the corpus at the end
_PASSES = TRAINING_FACTOR + 1  # over documents: forward, without what the backward pass needs, and again with it


@checked
def distill(
    turns: Sequence[Sides],
    encoder: Encoder,
    data: TrainingData,
    folder: Path,
    is_raw: bool = False,
    *,
    student: Annotated[tuple[str, ...], OneOf(STUDENT_KINDS)] = ("dense-query", "late-interaction-query"),
    base: str = "embedded:all-minilm-l6-v2",
    epochs: Annotated[int, Between(0, 10_000)] = 3,
    max_steps: Annotated[int, AtLeast(0)] = 0,
    evaluations: Annotated[int, Between(0, 10_000)] = 0,
    learning_rate: Annotated[float, Above(0, 1)] = 4e-5,
    schedule: Annotated[str, OneOf(("linear", "constant"))] = "linear",
    batch_size: Annotated[int, Between(1, 1_000_000)] = 16,
    document_ways: Annotated[int, Between(2, 100_000)] = 8,
    token_ways: Annotated[int, Between(2, 100_000)] = 20,
    ways_by: Annotated[str, OneOf((BEST, RANDOM))] = BEST,
    negatives: Annotated[str, OneOf(NEGATIVES)] = AUTO,
    teacher_negatives: Annotated[str, OneOf(("same", LIST))] = "same",
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

    Writes each to `folder/KIND` and returns training notes by kind. `turns` holds the (train, dev) lists of each
    teacher, learned from in turn, with scores in [0, 1] (on the teacher's own scale if `is_raw`), source document
    first; a query may have several lists. `encoder` is `base` and is not changed. Raises SettingError for two students
    of one kind, DataError without examples or teacher scores.

    Parameters
    ----------
    student
        Retrievers to train: dense, late-interaction, sparse (SPLADE); dense-query, late-interaction-query, sparse-query
        (only the query side, so the index stays valid); or static (the dense index stays valid). Sparse and static
        students encode queries without a transformer.
    base
        Encoder to adapt and to compare with.
    epochs
        Passes over the lists; ignored if max_steps is set.
    max_steps
        Number of steps of batch_size lists, regardless of the number of lists; every list is read once before any is
        repeated. 0 trains by epochs.
    evaluations
        How often to compute the loss on held-out queries; the weights with the lowest loss are kept, possibly the
        initial ones. 0: after every epoch, or ten times with max_steps. 1: at the end, and the final weights are kept.
    learning_rate
        AdamW's learning rate (peak, with a linear schedule).
    schedule
        linear (warm-up over a tenth of the steps, then decay to zero) or constant.
    batch_size
        Lists per step, one query each.
    document_ways
        Documents per list, the source document included, for students whose document vectors change during training.
    token_ways
        Documents per list for students whose document vectors do not change; with negatives=corpus, all are read.
    ways_by
        Which documents of a list to read: best (by teacher score) or random (new ones each time; GPL reads 2).
    negatives
        Additional documents in the softmax of a list: list (none), batch (those of the other lists of the step), corpus
        (all; only for students that keep the dense index), or auto (corpus if possible, else batch; list for late
        interaction with a teacher).
    teacher_negatives
        Additional documents in the teacher's part of the loss: same (as negatives), or list (none, as in CADET).
    loss
        kl (KL divergence from the teacher's distribution over the list), margin-mse (margins between the source
        document and the others), or contrastive (InfoNCE over mined and in-batch documents, without a teacher).
    teacher_temperature
        Divisor of the teacher's scores, which lie in [0, 1] unless label.normalize is none; lower is sharper.
    student_temperature
        Divisor of the student's similarities; 0 selects a value suited to its kind.
    max_sim
        Late interaction over the tokens of the query: mean, or sum (as in ColBERT; use student_temperature 1).
    contrastive
        Weight of InfoNCE in the loss, 0 to 1. Its positives are the source document, whatever the teacher says, and
        documents with the same score (label.false_negatives=positive), unless that is the lowest.
    contrastive_temperature
        Divisor of the student's similarities in InfoNCE; 0 uses student_temperature.
    mask_above
        Mask suspected false negatives in InfoNCE: documents that the teacher scores above this share of the source
        document's score; 1 or more masks none.
    table_learning_rate
        Peak learning rate of sparse and static students, whose weights are per-token tables.
    sparsity
        Weight of the sparse student's FLOPS regularizer on document weights.
    max_active_dims
        Maximum number of weighted tokens per document in the sparse index; 0 keeps all.
    matryoshka
        Additional vector lengths that dense students learn, such as 64,128, so that vectors can be truncated to them.
    dim
        Number of components that a dense student's index keeps; 0 keeps all.
    max_queries
        Train on at most this many queries, sampled by the seed; 0 for all.
    tune
        Values to try, as setting:value:value, with more settings after a comma. Each student is trained with every
        combination, and the one that does best on held-out queries is kept.
    """
    arguments = locals()
    settings = {name: arguments[name] for name in (*settings_of(distill), "seed")}
    return train_students(turns, encoder, data, folder, is_raw, settings=settings, progress=progress)


_NOT_TUNED = ("student", "base", "tune", "max_active_dims")  # max_active_dims is a property of the index
TUNABLE = {name: setting for name, setting in settings_of(distill).items() if name not in _NOT_TUNED}


class Distilled(StageOutput):
    """Trained students, and indexes for those that encode documents differently from the base."""

    stage = "distill"

    def members(self, run: Run) -> Lazy[Member]:
        """The students as members of systems, named `KIND:adapted`; sparse and static ones also untrained."""
        return self.students(run).members()

    def students(self, run: Run) -> Students:
        """The students with their indexes."""
        return replace(_students(run, self.folder, self.notes), index_folder=run.updated_folder)


def check(run: Run, *, asks: bool) -> None:
    """Raises SettingError for students that the base cannot start, and for invalid values in `tune`.

    asks: see `chain.check`.
    """
    settings, base = run.settings["distill"], run.settings["distill"]["base"]
    check_students(settings["student"])
    tried = [{**settings, **trial} for trial in trials(settings["tune"], settings, TUNABLE)]
    for trial in tried:
        check_negatives(run.settings["mine"]["n_ways"], **trial)
        check_scale(is_raw=run.settings["label"]["normalize"] == NONE and trial["loss"] != CONTRASTIVE, **trial)
    if len(tried) > 1 and distributed.size() > 1:
        raise SettingError("distill.tune takes one process; start this run without torchrun or accelerate launch")
    if asks or models.resolve(base).is_local:
        check_fits(settings["student"], base, is_late_interaction=models.is_late_interaction(models.folder(base)))
        if not run.workspace.is_made("distill") and any(trial["dim"] or trial["matryoshka"] for trial in tried):
            for trial in tried:
                check_dims(trial["dim"], trial["matryoshka"], run.base.encoder.dim)


def estimate(run: Run, n_queries: float, doc_tokens: float) -> Estimate:
    """Cost of training each student in each trial, encoding included. doc_tokens: mean tokens per document."""
    settings, flop = run.settings["distill"], 0.0
    encoding = token_flop(settings["base"]) * doc_tokens * sum(kind in _ENCODING for kind in settings["student"])
    for trial in ({**settings, **changes} for changes in trials(settings["tune"], settings, TUNABLE)):
        is_taught = trial["loss"] != CONTRASTIVE
        n_lists = min(n_queries, trial["max_queries"] or n_queries) * (lists_per_query(run) if is_taught else 1)
        n_read = trial["max_steps"] * trial["batch_size"] or n_lists * trial["epochs"]
        n_ways = min(trial["document_ways"], run.settings["label" if is_taught else "mine"]["n_ways"])
        flop += _LEARNING * SEARCH_FLOP * n_read * len(settings["student"])
        flop += encoding * (_PASSES * n_read * n_ways + len(run.input.corpus))
    return Estimate(flop)


def make(
    run: Run,
    indexed: Indexed,
    sampled: Sampled,
    filtered: Filtered,
    steered: Steered,
    labeled: Labeled | None,
    mined: Mined | None,
) -> Distilled:
    """Train students on the teacher's lists (on mined examples if loss is contrastive), and build their indexes."""
    settings, is_taught = run.settings["distill"], run.settings["distill"]["loss"] != CONTRASTIVE
    lists = labeled if is_taught else mined
    assert lists is not None  # the chain makes the stage that is read

    def work(folder: Path, progress: Progress) -> Account:
        from acclimate.learn.students.training_data import TrainingData

        base = run.base
        logged = labeled.log_queries if labeled and is_taught else []
        texts = {query.query_id: query.text for query in (*filtered.queries, *logged)}
        copies = None if is_taught else NearDuplicateDocs(run.input.corpus, run.settings["sample"]["near_duplicates"])
        data = TrainingData(texts, run.input.corpus, base.ids, base.vectors, copies)
        if isinstance(lists, Labeled):
            turns, is_raw = lists.turns, lists.is_raw
        else:
            examples, is_raw = lists.sides(filtered.sides(sampled)), False
            turns = [(without_teacher_scores(examples["train"]), without_teacher_scores(examples["dev"]))]
        held_out = steered.choosing(run, sampled)

        def train_trial(settings: Mapping[str, Any], into: Path) -> Notes:
            return distill(turns, base.encoder, data, into, is_raw, seed=run.seed, progress=progress, **settings)

        def score_trial(into: Path, notes: Notes) -> dict[str, float]:
            notes = _students(run, into, notes).index()
            members = base.members | _students(run, into, notes).members()
            retrievers = {kind: measuring.member_alone(base.ids, members, SystemName(kind).adapted()) for kind in notes}
            return {kind: held_out.mean(measuring.ndcg(retriever, held_out)) for kind, retriever in retrievers.items()}

        notes = tune_students(folder, settings, trials(settings["tune"], settings, TUNABLE), train_trial, score_trial)
        if distributed.is_main():
            with distributed.helped():  # the other processes have finished training and wait
                notes = _students(run, folder, notes).index()
            remove_notes(folder)
        n_queries = len({example.query_id for example in turns[0][0]})
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
    if settings["tune"]:
        inputs["dev"] = run.input.labels.choosing.fingerprint
    return run.make(Distilled, work, inputs=inputs, unit="steps", together=True)


def _students(run: Run, folder: Path, notes: Notes) -> Students:
    limits = run.settings["index"]["max_tokens"], run.settings["distill"]["max_active_dims"]
    return Students(folder, notes, lambda: run.base.vectors, run.input.corpus, *limits)
