"""The systems of a run as retrievers: which exist, and which are reranked by what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from acclimate.base import distributed
from acclimate.base.errors import SettingError
from acclimate.base.lazy import Lazy
from acclimate.base.progress import Progress
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.before_after import SystemRun, before_after
from acclimate.measure.compare import Comparison, PairedTest, compare, verdict
from acclimate.measure.evaluation import Evaluation, Values
from acclimate.measure.measures import MAIN
from acclimate.measure.recommend import best_untouched, recommend
from acclimate.measure.steps import step_row
from acclimate.records import Qrel, Query, Retriever, ScoredDoc, Scorer
from acclimate.run.run import Run
from acclimate.search import approximate, choice, first_stage, measuring, systems
from acclimate.search.feedback import FeedbackMember
from acclimate.search.members import Member
from acclimate.search.names import FEEDBACK, FIRST_STAGE, RERANKER, SystemName
from acclimate.search.scorers import named
from acclimate.search.system import System
from acclimate.search.systems import Chosen, Contender
from acclimate.search.views import Views
from acclimate.search.weights import ChosenWeights
from acclimate.stages.distill import Distilled
from acclimate.stages.train import Trained


def reranked_systems(run: Run) -> list[SystemName]:
    """The systems with a reranker: those of `evaluate.rerank`, then those of `evaluate.systems`."""
    settings = run.settings["evaluate"]
    in_full = [name for name in map(SystemName, settings["systems"]) if name.is_reranked]
    return list(dict.fromkeys([*(SystemName(name).reranked() for name in settings["rerank"]), *in_full]))


def check_systems(run: Run) -> None:
    """Raises SettingError for systems that this run will not have, and for rerankers that cannot score."""
    settings = run.settings["evaluate"]
    systems.check_reranked(settings["rerank"], run.student_kinds)
    systems.check_systems(settings["systems"], without_reranker(run))
    for name in named_rerankers(run):
        named.check(name)


def check_first_stage(run: Run) -> None:
    """Raises SettingError or DataError for a provided run that has other documents, or none of the queries."""
    if (path := run.input.first_stage) is None:
        return
    measuring = run.input.labels.measuring.queries
    if not measuring:
        raise SettingError(
            "--first-stage: a run answers the queries of its file alone, and here LLM-written ones would measure; give "
            "labelled ones with --queries and --qrels"
        )
    first_stage.check(path, run.input.documents, {query.query_id for query in measuring})


def reranked_names(run: Run, trained: Trained | None) -> list[str]:
    """Reranked systems as `choice.choose` expects them: the first stages of `evaluate.rerank`, and full names."""
    settings = run.settings["evaluate"]
    return [
        *(settings["rerank"] if trained else ()),
        *(name for name in reranked_systems(run) if name in settings["systems"]),
    ]


def needs_reranker(run: Run) -> bool:
    """True if a system to measure uses the reranker that this run trains."""
    return any(name.reranker == RERANKER for name in reranked_systems(run))


def named_rerankers(run: Run) -> list[str]:
    """The rerankers that are models by name, not trained by this run."""
    return list(dict.fromkeys(name.reranker for name in reranked_systems(run) if name.reranker != RERANKER))


def rerankers(run: Run, trained: Trained | None) -> Lazy[Scorer]:
    """Every reranker by name, loaded on first use."""
    corpus, limit = run.input.corpus, run.settings["index"]["max_tokens"]
    makers = {name: partial(named.load, name, corpus, max_doc_tokens=limit) for name in named_rerankers(run)}
    return Lazy(makers | ({RERANKER: partial(trained.reranker, run)} if trained else {}))


def members_of(run: Run, distilled: Distilled | None) -> Lazy[Member]:
    """The members of the run's systems: the base's retrievers, its students, and feedback."""
    members = run.base.members | distilled.members(run) if distilled else run.base.members
    return members | Lazy({FEEDBACK: partial(_feedback, run)}) if run.settings["evaluate"]["feedback"] else members


def _feedback(run: Run) -> Member:
    return FeedbackMember(index=run.base.bm25, corpus=run.input.corpus)


def approximate_recall(run: Run, members: Mapping[str, Member], queries: Sequence[Query]) -> dict[str, float]:
    """Member -> recall of its approximate index, i.e. the share of exact nearest documents it finds; also logged."""
    recalls = measuring.approximate_recall(members, queries, run.seed)
    for name, recall in recalls.items():
        tell = distributed.say if recall >= approximate.ENOUGH else distributed.warn
        tell("evaluate", approximate.recall_sentence(name, recall, len(run.base.ids)))
    return recalls


def without_reranker(run: Run) -> list[SystemName]:
    """The systems that can be reranked."""
    provided = [SystemName(FIRST_STAGE)] if run.provided.first_stage else []
    return [*provided, *systems.first_stages(run.student_kinds)]


def choose(
    run: Run,
    members: Mapping[str, Member],
    rerankers: Mapping[str, Scorer],
    held_out: JudgedQueries,
    trained: Trained | None,
) -> Chosen:
    """Weights of every system, and the candidate, chosen on held-out queries. trained: None without a reranker."""

    def weigh(name: SystemName, first: System) -> ChosenWeights:
        depth = name.depth or run.settings["evaluate"]["rerank_depth"]
        scorer, progress = rerankers[name.reranker], Progress("evaluate", "held-out queries")
        return choice.choose_reranker_weight(first, scorer, held_out, depth, name.weight, progress=progress)

    return choice.choose(run.base.ids, members, held_out, weigh, rerank=reranked_names(run, trained))


def contenders(
    run: Run,
    members: Mapping[str, Member],
    chosen: Chosen,
    rerankers: Mapping[str, Scorer],
    first_stage: Retriever | None = None,
    views: Views | None = None,
) -> list[Contender]:
    """Every system that can be built from these members and rerankers.

    views: shared between systems; see `search.system`.
    """
    sizes = Lazy({name: lambda name=name: run.base.index_bytes(members[name]) for name in members})
    depth = run.settings["evaluate"]["rerank_depth"]
    return systems.contenders(
        run.base.ids, members, chosen, rerankers, sizes, rerank_depth=depth, first_stage=first_stage, views=views
    )


def conclusion(
    rows: list[dict[str, Any]], values: Mapping[str, Values], candidate: str, test: PairedTest
) -> Evaluation:
    """The verdict on the candidate, and everything else that follows from the systems' values on the same queries.

    rows: systems as in a report. values: by system.
    """
    names, baseline = [SystemName(name) for name in values], best_untouched(rows)
    by_name, pairs = {row["name"]: row for row in rows}, systems.pairs_to_compare(names, baseline)
    seed, sources, min_difference = test

    def compared(system: str, baseline: str, measure: str = MAIN) -> Comparison:
        after, before = values[system][measure], values[baseline][measure]
        return compare(after, before, system=system, baseline=baseline, measure=measure, seed=seed, sources=sources)

    return Evaluation(
        systems=rows,
        comparisons=[compared(*pair, measure) for measure in values[baseline] for pair in pairs],
        steps=[
            step_row(step, by_name[before], by_name[after], compared(after, before), min_difference)
            for step, before, after in systems.steps(names)
        ],
        verdict=verdict(compared(candidate, baseline), min_difference=min_difference),
        candidate=candidate,
        baseline=baseline,
        recommendation=recommend(
            [by_name[name] for name in names if name.is_servable], {name: of[MAIN] for name, of in values.items()}, test
        ),
        per_query=values,
    )


def examples(
    run: Run,
    evaluation: Evaluation,
    runs: Mapping[str, Iterable[ScoredDoc]],
    queries: Sequence[Query],
    qrels: Sequence[Qrel],
) -> list[dict[str, Any]]:
    """Example queries with the rankings of the evaluation's baseline and candidate. runs: by system."""
    before, after = (
        SystemRun(name, runs[name], evaluation.per_query[name][MAIN])
        for name in (evaluation.baseline, evaluation.candidate)
    )
    return before_after(before, after, queries, qrels, run.input.documents, run.base.bm25.analyzer)
