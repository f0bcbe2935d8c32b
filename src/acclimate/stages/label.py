"""The teacher scores each query's candidates: an ensemble of scorers over one shared list.

Retrievers have scored the candidates when they found them; rerankers and LLMs score the best of them, each pair once.
Each teacher's scores are normalized and added with weights (see `learn.teachers`), or teachers are learned from one
after the other (`sequential`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from acclimate.base import distributed
from acclimate.base.domains import Above, AtLeast, Between, OneOf
from acclimate.base.files import write_jsonl
from acclimate.base.progress import Progress
from acclimate.base.text import counted
from acclimate.corpus.formats import read_nway, read_queries, write_nway, write_queries
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.learn.teachers.labels import label_lists
from acclimate.learn.teachers.lists import CandidateFinder, restricted_to
from acclimate.learn.teachers.rated_lists import Labels
from acclimate.learn.teachers.selection import CHOSEN, FALSE_NEGATIVES, MODES, check_teaching, teacher_warnings
from acclimate.records import NWay, Query, Scorer, SyntheticQuery
from acclimate.run.estimate import Estimate, token_flop
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import BASE_MEMBERS, ENCODER, RETRIEVERS, SHARED_DEPTH, sources_of
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked, settings_of
from acclimate.search.names import RERANKER
from acclimate.search.scales import NAMES, NONE
from acclimate.search.scorers import named
from acclimate.search.scorers.cached import cached
from acclimate.stages.filter import Filtered
from acclimate.stages.index import Indexed
from acclimate.stages.sample import Sampled
from acclimate.stages.steer import Steered, n_choosing
from acclimate.stages.train import Trained, pair_flop
from acclimate.stages.unseen import ALL, QUERIES, TAUGHT, UNSEEN, n_taught, unseen

HYBRID = "hybrid"
_PAIR_TOKENS = 24  # tokens of a query and the instruction around it


@checked
def label(
    train: Sequence[SyntheticQuery],
    dev: Sequence[SyntheticQuery],
    held_out: JudgedQueries,
    finder: CandidateFinder,
    scorers: Mapping[str, Scorer],
    log: Sequence[Query] = (),
    scratch: Path | None = None,
    *,
    teachers: tuple[str, ...] = ("bm25", "dense", "late-interaction", RERANKER),
    queries: Annotated[str, OneOf(QUERIES)] = ALL,
    candidates: Annotated[str, OneOf(RETRIEVERS)] = HYBRID,
    normalize: Annotated[str, OneOf(NAMES)] = "min-max",
    weights: str = CHOSEN,
    mode: Annotated[str, OneOf(MODES)] = "mean",
    n_ways: Annotated[int, Between(2, 100_000)] = 100,
    reranker_ways: Annotated[int, Between(2, 100_000)] = 20,
    windows: Annotated[int, AtLeast(0)] = 0,
    min_gain: Annotated[float, Between(-1, 1)] = 0.002,
    source_within: Annotated[int, AtLeast(0)] = 0,
    drop_lowest: Annotated[float, Between(0, 0.99)] = 0.0,
    false_negatives: Annotated[str, OneOf(FALSE_NEGATIVES)] = "keep",
    false_negative_share: Annotated[float, Above(0)] = 0.95,
    log_queries: Annotated[int, AtLeast(0)] = 1000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Labels:
    """Choose the teacher and score the candidates of every synthetic query and log query with it.

    The teacher is chosen on `held_out`. `finder` finds the source of a synthetic query wherever it ranks. Scorers,
    which are far slower, score the `reranker_ways` best candidates: of held-out queries first, and of the others only
    if they help. What they do not score counts as their lowest score; if no retriever teaches, it is left out. Raises
    DataError without held-out queries, since the choice of teacher would be arbitrary, and for a score that is not
    finite; SettingError for invalid settings.

    log: real queries without judgments, most frequent first. They have no source document: their lists begin with the
    teacher's best, and students learn only the teacher's scores from them.

    scratch: a folder to hold lists until they are read again; None: they are held in memory.

    Parameters
    ----------
    teachers
        Candidate teachers: bm25, dense, late-interaction, reranker (all rerankers of train), and models:
        cross-encoder:MODEL, monot5:MODEL, decoder:MODEL, yes-no:LLM, likelihood:LLM.
    queries
        Synthetic queries to label: all, or unseen (those that no reranker was trained on, as in UDAPDR).
    candidates
        Source of the candidates: hybrid (top documents by the mean score of all retrievers), bm25, dense, or
        late-interaction (which reranks the results of the first two).
    normalize
        Normalization before teacher scores are added: min-max, rank or z (per list), percentile (over all lists), or
        none (students learn from raw scores).
    weights
        Weights of the teachers: chosen (on held-out queries), equal, or numbers by name: bm25=.3,dense=.7.
    mode
        mean (weighted sum of the teachers) or sequential (students learn from one teacher after another).
    n_ways
        Candidates that the teacher scores per query, the source document included.
    reranker_ways
        Number of top candidates that rerankers and other scorers score; with windows, they score all.
    windows
        0: one list per query with all its candidates. Otherwise several lists per query, each with the source document
        and the next this many best candidates, up to n_ways (UDAPDR: 15, with n_ways 91 for six lists).
    min_gain
        With chosen weights: nDCG@10 on held-out queries that a scorer must add to be used as a teacher.
    source_within
        Drop queries whose source document the teacher ranks below this position; 0 drops none (CADET: 1).
    drop_lowest
        Drop this share of the queries: those whose best candidate gets the lowest teacher scores (CADET: .25).
    false_negatives
        What to do with suspected false negatives: keep (with their scores), drop, or positive (give them the source
        document's score).
    false_negative_share
        A candidate counts as a false negative above this share of the source document's score. Raw scores (normalize
        none) have no shares: any candidate above the source document counts.
    log_queries
        Maximum number of log queries to label besides the synthetic ones, most frequent first; 0 for none.
    """
    arguments = locals()
    settings = {name: arguments[name] for name in settings_of(label)}
    if candidates != HYBRID:
        shares = RETRIEVERS[candidates]
        finder = finder._replace(find=restricted_to(sources_of(shares), finder.find), weights=shares)
    return label_lists(train, dev, held_out, finder, scorers, log, scratch, settings=settings, progress=progress)


class Labeled(StageOutput):
    """The lists that students learn from, and the chosen teacher."""

    stage = "label"
    kept_nothing = "no list could be labelled"

    @property
    def turns(self) -> list[tuple[list[NWay], list[NWay]]]:
        """(train, dev) lists for each teacher in turn; one pair unless students learn from teachers sequentially."""
        return [
            (list(read_nway(self.folder / f"train{which}.jsonl")), list(read_nway(self.folder / f"dev{which}.jsonl")))
            for which in _file_suffixes(len(self.notes["turns"]))
        ]

    @property
    def is_raw(self) -> bool:
        """True if scores are on the teacher's own scale, not in [0, 1]."""
        return self.notes["scale"]["normalize"] == NONE

    @property
    def log_queries(self) -> list[Query]:
        """The training queries that come from the log, without a known relevant document."""
        path = self.folder / "log_queries.jsonl"
        return read_queries(path) if path.exists() else []

    @property
    def teachers(self) -> list[dict[str, Any]]:
        """All possible teachers: name, nDCG@10 alone on held-out queries, weight, whether used, why."""
        return self.notes["teachers"]

    def warnings(self, student_kinds: Sequence[str]) -> list[str]:
        """Warnings about the teacher for these kinds of students."""
        return teacher_warnings(self.notes, student_kinds)


def named_scorers(run: Run) -> list[str]:
    """The teachers that are models by name, not retrievers or rerankers of this run."""
    return [name for name in run.settings["label"]["teachers"] if name not in (*BASE_MEMBERS, RERANKER)]


def check(run: Run) -> None:
    """Raises SettingError for invalid teachers."""
    check_teaching(**run.settings["label"])
    for name in named_scorers(run):
        named.check(name)


def estimate(run: Run, n_queries: float, n_lists: float, doc_tokens: float, n_rerankers: int) -> Estimate:
    """Cost of the teachers. Rerankers score the held-out queries, and all lists if they are certain to teach; LLMs are
    counted as teaching, reading each document once and each pair's query.

    n_lists: lists of synthetic and of log queries. doc_tokens: mean tokens per document. n_rerankers: of the
    run, trained or provided.
    """
    settings, by_name = run.settings["label"], named_scorers(run)
    encoders = [name for name in by_name if name.startswith("cross-encoder:")]
    n_teaching = 0
    if settings["weights"] != CHOSEN and RERANKER in settings["teachers"]:
        n_teaching += n_rerankers  # chosen ones mostly get no weight, and score nothing more
    if settings["queries"] == UNSEEN:
        n_lists = max(0, n_lists - n_taught(run))
    n_rated = n_rerankers * n_choosing(run, n_queries) + n_teaching * n_lists
    n_ways = settings["n_ways" if settings["windows"] else "reranker_ways"]
    n_pairs = n_lists * n_ways
    tokens = min(n_pairs, len(run.input.corpus)) * doc_tokens + n_pairs * _PAIR_TOKENS
    flop = pair_flop(run) * n_rated * n_ways
    for name in by_name:
        n_tokens = run.settings["index"]["max_tokens"] * n_pairs if name in encoders else tokens
        flop += token_flop(named.model_of(name)[1]) * n_tokens
    return Estimate(flop)


def lists_per_query(run: Run) -> int:
    """Number of lists per query that students learn from."""
    settings = run.settings["label"]
    return max(1, (settings["n_ways"] - 1) // settings["windows"]) if settings["windows"] else 1


def make(
    run: Run, indexed: Indexed, sampled: Sampled, filtered: Filtered, steered: Steered, trained: Trained | None
) -> Labeled:
    """Let the teacher score the candidates of training and of held-out queries."""
    settings = run.settings["label"]

    def work(folder: Path, progress: Progress) -> Account:
        sides, dropped = filtered.sides(sampled), {}
        train = sides["train"]
        if settings["queries"] == UNSEEN and trained:
            train = unseen(sides["train"], trained.query_ids, filtered.folder)
            dropped = {TAUGHT: len(sides["train"]) - len(train)}
        held_out = steered.choosing(run, sampled)
        labels = run.input.labels
        judged = [*labels.choosing.queries, *labels.measuring.queries, *sides["dev"], *sides["test"]]
        log = [query.as_query() for query in run.input.log.unlike([*(query.text for query in judged), *steered.logged])]
        corpus, limit = run.input.corpus, run.settings["index"]["max_tokens"]
        scorers = trained.scorers(run) if trained else {}
        scorers |= {name: named.load(name, corpus, max_doc_tokens=limit) for name in named_scorers(run)}
        depth = max(SHARED_DEPTH, settings["n_ways"])
        with run.candidates(indexed, depth) as kept, run.store.scores() as scores:
            result = label(
                train,
                sides["dev"],
                held_out,
                CandidateFinder(kept.candidates, run.base.ids, run.base.names),
                cached(scorers, scores, corpus.fingerprint),
                log,
                folder,
                progress=progress,
                **settings,
            )
        for turn, which in zip(result.turns, _file_suffixes(len(result.turns)), strict=True):
            write_nway(folder / f"train{which}.jsonl", turn.train)
            write_nway(folder / f"dev{which}.jsonl", turn.dev)
        write_jsonl(folder / "scores.jsonl", result.rated)
        notes = {**result.notes, "chosen_on": str(held_out)}
        used = log[: settings["log_queries"]]
        if used:
            write_queries(folder / "log_queries.jsonl", used)
            notes["log"] = {"queries": len(used), "held_out": len(run.input.log) - len(log)}
        n_queries = len(sides["train"]) + len(sides["dev"]) + len(used)
        return Account(n_queries, len(result.query_ids), result.dropped | dropped, notes=notes)

    inputs = {
        **{output.name: output.fingerprint for output in (sampled, filtered, steered, indexed)},
        **run.read(*ENCODER),
        DOCUMENTS: run.input.corpus.fingerprint,
        "dev": run.input.labels.choosing.fingerprint,
    }
    if trained:
        inputs |= {"train": trained.fingerprint, "notes of train": trained.noted(), **run.read("train.max_tokens")}
    if settings["log_queries"] and run.input.log:
        inputs |= {"log": run.input.log.fingerprint, "test": run.input.labels.measuring.fingerprint}
    for name in named_scorers(run):
        inputs[name] = named.fingerprint_of(name)
    labeled = run.make(Labeled, work, inputs=inputs, unit="pairs")
    for text in _remarks(labeled, settings):
        distributed.say("label", text)
    for warning in labeled.warnings(run.student_kinds):
        distributed.warn("label", warning)
    return labeled


def _remarks(labeled: Labeled, settings: Mapping[str, Any]) -> Iterator[str]:
    """What became of false negatives, and of the log."""
    treated = {"keep": "kept", "drop": "dropped", "positive": "made positives"}[settings["false_negatives"]]
    scored = counted(labeled.notes["false_negatives"], "candidate")
    yield f"{scored} scored above {settings['false_negative_share']:g} of their source document: {treated}"
    if log := labeled.notes.get("log"):
        yield (
            f"{counted(log['queries'], 'log query is', 'log queries are')} used for training; {log['held_out']:,} for "
            "evaluation or choices"
        )


def _file_suffixes(n_turns: int) -> list[str]:
    """Suffixes of file names, one per turn."""
    return [f"-{number}" for number in range(1, n_turns + 1)] if n_turns > 1 else [""]
