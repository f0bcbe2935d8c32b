"""Every system answers the same queries: measures with intervals, paired comparisons, latency, and one verdict.

The baseline is whichever of the systems that people have anyway (BM25, dense retrieval, and the ranks of both added)
does best on these very queries: luck can only help it. The system that is held against it, the candidate, is chosen
beforehand on others, held out from training. The verdict is about these two; where a gain comes from is said step by
step, and what is recommended is chosen among all (`recommend`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from acclimate.base.domains import AtLeast
from acclimate.base.draw import subset
from acclimate.base.errors import DataError
from acclimate.base.files import read_json, read_jsonl, write_json, write_jsonl
from acclimate.base.progress import Progress
from acclimate.corpus.formats.trec import write_qrels, write_run
from acclimate.measure.before_after import before_after
from acclimate.measure.compare import ERROR_WITHOUT_LABELS, verdict
from acclimate.measure.evaluation import Evaluation, compared, reached
from acclimate.measure.measures import DEEPEST, MAIN, MEASURES, nothing_relevant, per_query
from acclimate.measure.recommend import best_untouched, recommend
from acclimate.measure.steps import step_row
from acclimate.records import Qrel, Query, ScoredDoc
from acclimate.run.estimate import Estimate
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import ENCODER
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked
from acclimate.search import choice, systems
from acclimate.search.system import System
from acclimate.search.systems import Contender
from acclimate.search.weights import Weighed
from acclimate.search.without import Without
from acclimate.stages.distill import Distilled
from acclimate.stages.index import Indexed
from acclimate.stages.label import Labeled
from acclimate.stages.sample import Sampled
from acclimate.stages.steer import Steered, n_choosing
from acclimate.stages.train import Trained, n_rerankers, pair_flop

_WARM_UP = 2  # queries answered before the clock counts


@checked
def evaluate(
    contenders: Sequence[Contender],
    queries: Sequence[Query],
    qrels: Sequence[Qrel],
    candidate: str,
    folder: Path,
    least: float = 0.0,
    *,
    k: Annotated[int, AtLeast(DEEPEST)] = 100,
    max_queries: Annotated[int, AtLeast(1)] = 1000,
    rerank: tuple[str, ...] = ("hybrid",),
    rerank_depth: Annotated[int, AtLeast(1)] = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure every system on the same queries, and say whether the candidate beats what people have.

    Runs go to `folder/runs/NAME.trec`. `candidate` names the system that counts. Queries are answered one at a
    time, as a person would ask them, so the latencies are those of single queries, from text to ranking. The judgments
    of those measured go to `folder/qrels.trec`: with them any evaluator gives the same figures for the runs (`trec_eval
    -c`, where one finds nothing for a query). A query of which nothing is judged relevant counts 0. `least`: smaller
    differences decide nothing. Raises DataError when no query has a relevant document.

    Parameters
    ----------
    k
        Documents per query in a run, as many at least as the deepest measure looks at.
    max_queries
        Measure on this many queries at most; drawn where there are more.
    rerank
        Systems to measure with the reranker behind them, too.
    rerank_depth
        Documents that a reranker puts in order.
    """
    judged = {qrel.query_id for qrel in qrels}
    asked = subset([query for query in queries if query.query_id in judged], max_queries, seed)
    asked = sorted(asked, key=lambda query: query.query_id)
    kept = {query.query_id for query in asked}
    qrels = [qrel for qrel in qrels if qrel.query_id in kept]
    if not any(qrel.relevance > 0 for qrel in qrels):
        raise DataError(f"none of the {len(queries):,} queries has a relevant document; there is nothing to measure on")
    write_qrels(folder / "qrels.trec", qrels)

    summaries: list[dict[str, Any]] = []
    runs: dict[str, list[ScoredDoc]] = {}
    values: dict[str, dict[str, dict[str, float]]] = {}
    for number, contender in enumerate(contenders):
        contender.retriever.search(asked[:_WARM_UP], k)
        run: list[ScoredDoc] = []
        seconds: list[float] = []
        for done, query in enumerate(asked, 1):
            started = time.perf_counter()
            run += contender.retriever.search([query], k)
            seconds.append(time.perf_counter() - started)
            progress(number * len(asked) + done, len(contenders) * len(asked))
        write_run(folder / "runs" / f"{contender.name.file_name}.trec", run, tag=contender.name)
        runs[contender.name] = run
        values[contender.name] = per_query(run, qrels)
        summaries.append(
            {
                **contender.name.facts,
                **reached(values[contender.name], seconds, seed),
                "index_bytes": contender.index_bytes,
                "weights": contender.weights,
            }
        )

    names = [contender.name for contender in contenders]
    baseline = best_untouched(summaries, MAIN)
    comparisons = [
        compared(values, system, against, measure, seed)
        for measure in MEASURES
        for system, against in systems.pairs_to_compare(names, baseline)
    ]
    by_name = {system["name"]: system for system in summaries}
    steps = [
        step_row(step, by_name[name.origin], by_name[name], compared(values, name, name.origin, MAIN, seed), least)
        for step, name in systems.steps(names)
    ]
    return Evaluation(
        systems=summaries,
        comparisons=comparisons,
        steps=steps,
        verdict=verdict(compared(values, candidate, baseline, MAIN, seed), least=least),
        candidate=candidate,
        baseline=baseline,
        recommendation=recommend(summaries, {name: of[MAIN] for name, of in values.items()}, MAIN, seed, least),
        runs=runs,
        per_query=values,
    )


class Evaluated(StageOutput):
    """What every system reached, and what serves."""

    stage = "evaluate"

    @cached_property
    def measured(self) -> dict[str, Any]:
        """See `Evaluation.for_report`."""
        return read_json(self.folder / "measured.json")

    @cached_property
    def chosen(self) -> systems.Chosen:
        """The weights of every system, chosen on held-out queries."""
        return systems.Chosen(**{key: self._chosen[key] for key in systems.Chosen._fields if key in self._chosen})

    @property
    def chosen_on(self) -> str:
        """The held-out queries, in words."""
        return self._chosen["on"]

    @property
    def before_after(self) -> list[dict[str, Any]]:
        """Queries before and after."""
        return [row for _, row in read_jsonl(self.folder / "examples.jsonl")]

    @cached_property
    def _chosen(self) -> dict[str, Any]:
        return read_json(self.folder / "chosen.json")


def needs_reranker(run: Run) -> bool:
    """True where a system that is measured is reranked by what this run trains."""
    return bool(run.settings["evaluate"]["rerank"])


def check(run: Run) -> None:
    """Raises SettingError for a system to rerank that there will not be."""
    systems.check_reranked(run.settings["evaluate"]["rerank"], run.student_kinds)


def estimate(run: Run, n_queries: float, n_drawn: int) -> Estimate:
    """Of rerankers, behind systems that choose and that are measured. n_drawn: documents that get queries."""
    settings, labels = run.settings["evaluate"], run.input.labels
    searches = min(len(labels.measuring.queries) or 0.2 * n_drawn, settings["max_queries"])
    n_lists = 2 * searches + len(settings["rerank"]) * n_choosing(run, n_queries)
    return Estimate(pair_flop(run) * n_rerankers(run) * n_lists * settings["rerank_depth"])


def make(
    run: Run,
    indexed: Indexed,
    sampled: Sampled,
    steered: Steered,
    trained: Trained | None,
    labeled: Labeled | None,
    distilled: Distilled | None,
) -> Evaluated:
    """Choose weights and the candidate on held-out queries, then measure every system on those that measure.

    trained, labeled, distilled: None where a run has no such stage.
    """
    settings = run.settings["evaluate"]

    def work(folder: Path, progress: Progress) -> Account:
        test, held_out = steered.measuring(run, sampled), steered.choosing(run, sampled)
        members = {**run.base.members, **(distilled.members(run) if distilled else {})}
        reranker, depth = trained.reranker(run) if trained else None, settings["rerank_depth"]

        def weigh(first_stage: System) -> Weighed:
            assert reranker is not None
            return choice.weigh_reranker(first_stage, reranker, held_out, depth)

        chosen = choice.choose(
            run.base.ids,
            members,
            held_out,
            weigh if reranker else None,
            rerank=settings["rerank"],
        )
        sizes = {name: run.base.index_bytes(member) for name, member in members.items()}
        contenders = systems.contenders(run.base.ids, members, chosen, reranker, sizes, rerank_depth=depth)
        if test.self_matches.are_usual:
            contenders = [
                contender._replace(retriever=Without(contender.retriever, test.self_matches.left_out))
                for contender in contenders
            ]
        result = evaluate(
            contenders, test.queries, test.qrels, chosen.candidate, folder,
            ERROR_WITHOUT_LABELS if test.is_synthetic else 0.0,
            seed=run.seed, progress=progress, **settings,
        )  # fmt: skip
        values = {name: by_measure[MAIN] for name, by_measure in result.per_query.items()}
        examples = before_after(
            result.baseline, result.candidate, result.runs, values, test.queries, test.qrels, run.input.documents
        )
        write_json(folder / "chosen.json", {**chosen._asdict(), "on": str(held_out)})
        write_json(folder / "measured.json", result.for_report())
        write_jsonl(folder / "examples.jsonl", examples)
        asked = values[chosen.candidate]
        shown = 0 if test.is_synthetic else len(run.input.labels.measuring.queries) - len(test.queries)
        dropped = {"example of a prompt": shown, "not drawn": len(test.queries) - len(asked)}
        notes = {
            "split": test.split,
            "of": len(test.queries),
            "nothing_relevant": nothing_relevant([qrel for qrel in test.qrels if qrel.query_id in asked]),
            "identical": {
                "queries": len(test.self_matches.documents.keys() & asked),
                "left_out": test.self_matches.are_usual,
            },
        }
        dropped = {reason: count for reason, count in dropped.items() if count}
        return Account(len(test.queries) + shown, len(asked), dropped, notes=notes)

    stages: list[StageOutput | None] = [sampled, steered, indexed, trained, labeled, distilled]
    inputs = {
        **{output.name: output.fingerprint for output in stages if output},
        **run.read(*ENCODER, "train.max_tokens", "distill.max_active_dims"),
        **{f"notes of {output.name}": output.noted() for output in (trained, distilled) if output},
        DOCUMENTS: run.input.corpus.fingerprint,
        "hybrid": "reciprocal ranks",  # in earlier versions it had weights: what they measured is measured again
        "labels": run.input.labels.measuring.fingerprint,
        "dev": run.input.labels.choosing.fingerprint,
    }
    return run.make(Evaluated, work, inputs=inputs, unit="searches")
