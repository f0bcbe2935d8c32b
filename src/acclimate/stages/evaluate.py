"""Measure every system on the same queries: measures with intervals, paired comparisons, latency, and one verdict.

The baseline is whichever of BM25, dense retrieval, their reciprocal rank fusion and a run that the user brings does
best on these very queries, so chance can only favor the baseline. The candidate is chosen beforehand on queries held
out from training. The verdict compares these two; gains are also reported step by step, and the recommended system is
chosen among all (`recommend`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from acclimate.base.digests import sha256
from acclimate.base.domains import AtLeast
from acclimate.base.errors import DataError, SettingError, unknown
from acclimate.base.files import read_json, read_jsonl, write_json, write_jsonl
from acclimate.base.progress import Progress
from acclimate.base.text import counted
from acclimate.corpus.formats.trec import read_run, write_qrels
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.measure.compare import PairedTest, least_difference
from acclimate.measure.evaluation import Evaluation, summary
from acclimate.measure.measures import DEEPEST, MAIN, MEASURES, measured, nothing_relevant, provider_of
from acclimate.measure.named import cut_below, means_of, measure_of
from acclimate.run.estimate import Estimate, token_flop
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import ENCODER
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked
from acclimate.search.exclusion import Excluding
from acclimate.search.first_stage import FirstStage
from acclimate.search.measuring import draw_queries, latencies, n_timed, run_file, write_runs
from acclimate.search.names import FIRST_STAGE, RERANKER, SystemName
from acclimate.search.scorers import named
from acclimate.search.scorers.cached import cached
from acclimate.search.systems import Chosen, Contender
from acclimate.search.views import Views
from acclimate.stages.distill import Distilled
from acclimate.stages.index import Indexed
from acclimate.stages.label import Labeled
from acclimate.stages.sample import Sampled
from acclimate.stages.steer import Steered, n_choosing
from acclimate.stages.systems import (
    approximate_recall,
    check_systems,
    choose,
    conclusion,
    contenders,
    examples,
    members_of,
    named_rerankers,
    reranked_systems,
    rerankers,
)
from acclimate.stages.train import Trained, n_rerankers, pair_flop


@checked
def evaluate(
    contenders: Sequence[Contender],
    judged: JudgedQueries,
    candidate: str,
    folder: Path,
    n_docs: int = 0,
    *,
    k: Annotated[int, AtLeast(DEEPEST)] = 100,
    max_queries: Annotated[int, AtLeast(0)] = 1000,
    measures: tuple[str, ...] = MEASURES,
    rerank: tuple[str, ...] = ("hybrid",),
    rerank_depth: Annotated[int, AtLeast(1)] = 20,
    feedback: bool = True,
    systems: tuple[str, ...] = (),
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure every system on the same queries and test whether the candidate beats what you already have.

    Runs go to `folder/runs/NAME.trec`, the judgments of the measured queries to `folder/qrels.trec`: with them any
    evaluator gives the same figures (`trec_eval -c` where a system finds nothing for a query). Queries are answered in
    batches; latency, from text to ranking, is measured on a random subset answered one at a time. A query without
    relevant documents counts 0. `n_docs`: of the searchable collection. Raises DataError when no query has a relevant
    document, SettingError for an unknown measure.

    Parameters
    ----------
    k
        Documents per query in a run; more if a measure or a reranker needs a greater depth.
    max_queries
        Measure on at most this many queries, sampled if there are more; 0 for all.
    measures
        Measures besides nDCG@10, R@100, RR@10 and Success@5, by ir-measures names: R@1000, AP, Judged@10.
    rerank
        Systems to measure also with the reranker as second stage.
    rerank_depth
        Number of documents to rerank.
    feedback
        Measure the last hybrid also with feedback: BM25 searches again with terms of the first documents it finds.
    systems
        Additional systems to measure, as FIRST+RERANKER@DEPTH=WEIGHT, where RERANKER is reranker or a scorer named as
        in label.teachers. bm25+reranker@1000=1 ranks BM25's first thousand documents by the reranker alone. By default
        DEPTH is rerank_depth and WEIGHT is chosen.
    """
    has_judgment = {qrel.query_id for qrel in judged.qrels}
    asked = draw_queries([query for query in judged.queries if query.query_id in has_judgment], max_queries, seed)
    qrels, test = judged.restricted_to(asked).qrels, PairedTest(seed, judged.sources, least_difference(judged.split))
    if not any(qrel.relevance > 0 for qrel in qrels):
        raise DataError(
            f"none of the {counted(len(judged.queries), 'query')} has a relevant document; there is nothing to measure "
            "on"
        )
    write_qrels(folder / "qrels.trec", qrels)
    computed = {measure.name: measure for measure in means_of((*MEASURES, *measures))}
    k = max(k, *(measure.depth for measure in computed.values()))

    n_searches, n_apart = len(contenders) * len(asked), [n_timed(contender, asked) for contender in contenders]
    n_in_all = n_searches + sum(n_apart)
    write_runs(contenders, asked, k, n_docs, folder, lambda done: progress(done, n_in_all))
    summaries: list[dict[str, Any]] = []
    values: dict[str, dict[str, dict[str, float]]] = {}
    for place, contender in enumerate(contenders):
        done = n_searches + sum(n_apart[:place])
        name = contender.name
        seconds = latencies(contender, asked, k, seed, lambda n, done=done: progress(done + n, n_in_all))
        values[name] = measured(read_run(run_file(folder, name)), qrels, list(computed))
        sizes = {"index_bytes": contender.index_bytes, "weights": contender.weights}
        summaries.append({**contender.facts, **summary(values[name], seconds, test), **sizes})
    return conclusion(summaries, values, candidate, test)


class Evaluated(StageOutput):
    """Measures of every system, and which one to serve."""

    stage = "evaluate"

    @cached_property
    def measured(self) -> dict[str, Any]:
        """The content of `measured.json`; see `Evaluation.for_report`."""
        return read_json(self.folder / "measured.json")

    @property
    def names(self) -> list[SystemName]:
        """Names of the measured systems."""
        return [SystemName(row["name"]) for row in self.measured["systems"]]

    def servable(self, system: str | None) -> SystemName:
        """The name of this system, by default the recommended one. Raises SettingError if it cannot serve."""
        name = self.measured["recommended"] if system is None else system
        if not isinstance(name, str) or name not in self.names:
            raise unknown("system", name, self.names)
        if not SystemName(name).is_servable:
            raise SettingError(f"{name} starts with a run, which answers only its own queries; expected another")
        return SystemName(name)

    @cached_property
    def chosen(self) -> Chosen:
        """Weights of every system, chosen on held-out queries."""
        return Chosen(**{key: self._chosen[key] for key in Chosen._fields if key in self._chosen})

    @property
    def chosen_on(self) -> str:
        """Description of the held-out queries."""
        return self._chosen["on"]

    @property
    def before_after(self) -> list[dict[str, Any]]:
        """Example queries with their rankings before and after adapting."""
        return [row for _, row in read_jsonl(self.folder / "examples.jsonl")]

    @cached_property
    def _chosen(self) -> dict[str, Any]:
        return read_json(self.folder / "chosen.json")


def check(run: Run) -> None:
    """Raises SettingError for unknown measures, and for systems that this run will not have."""
    means_of(run.settings["evaluate"]["measures"])
    check_systems(run)


def most_measured(run: Run, n_drawn: int) -> int:
    """How many queries are measured: the labelled ones, or at most the held-out ones of so many sampled documents."""
    n_measuring = len(run.input.labels.measuring.queries) or round(0.2 * n_drawn)
    return min(n_measuring, run.settings["evaluate"]["max_queries"] or n_measuring)


def estimate(run: Run, n_queries: float, n_drawn: int) -> Estimate:
    """Cost of reranking, to choose weights and to measure. n_drawn: number of documents that get queries."""
    settings, n_measured = run.settings["evaluate"], most_measured(run, n_drawn)
    flop = 0.0
    for name in reranked_systems(run):
        n_lists = n_measured + (n_choosing(run, n_queries) if name.weight is None else 0)
        n_pairs = n_lists * (name.depth or settings["rerank_depth"])
        if name.reranker == RERANKER:
            flop += pair_flop(run) * n_rerankers(run) * n_pairs
        else:
            flop += token_flop(named.model_of(name.reranker)[1]) * run.settings["index"]["max_tokens"] * n_pairs
    return Estimate(flop)


def _notes(test: JudgedQueries, result: Evaluation, asked: Collection[str]) -> dict[str, Any]:
    """What a report says of the queries and measures. asked: ids of the measured queries."""
    queries = [query for query in test.queries if query.query_id in asked]
    return {
        "split": test.split,
        "of": len(test.queries),
        "nothing_relevant": nothing_relevant([qrel for qrel in test.qrels if qrel.query_id in asked]),
        "same_text": 0 if test.is_synthetic else len(replace(test, queries=queries).sources),
        "identical": {
            "queries": len(test.self_matches.documents.keys() & asked),
            "left_out": test.self_matches.are_usual,
        },
        "providers": {measure: provider_of(measure) for measure in result.per_query[result.baseline]},
    }


def make(
    run: Run,
    indexed: Indexed,
    sampled: Sampled,
    steered: Steered,
    trained: Trained | None,
    labeled: Labeled | None,
    distilled: Distilled | None,
) -> Evaluated:
    """Choose weights and the candidate on held-out queries, then measure every system on the test queries.

    trained, labeled, distilled: None if the run skips the stage.
    """

    def work(folder: Path, progress: Progress) -> Account:
        test, held_out = steered.measuring(run, sampled), steered.choosing(run, sampled)
        members, brought = members_of(run, distilled), run.input.first_stage
        query_ids = {query.query_id for query in test.queries}
        given_run = FirstStage.read(brought, run.base.ids, query_ids) if brought else None
        with run.store.scores() as scores:
            scorers = rerankers(run, trained)
            with_scores = cached(scorers, scores, run.input.corpus.fingerprint)
            chosen = choose(run, members, with_scores, held_out, trained)
            for_runs = contenders(run, members, chosen, with_scores, given_run, Views())
            for_latency = contenders(run, members, chosen, scorers, given_run)  # nothing is cached or shared
            is_trained = trained is not None and "given" not in trained.notes
            competing = [
                contender._replace(serving=alone.retriever, is_trained=is_trained or not contender.name.is_reranked)
                for contender, alone in zip(for_runs, for_latency, strict=True)
            ]
            if test.self_matches.are_usual:
                left_out = test.self_matches.left_out
                competing = [each._replace(retriever=Excluding(each.retriever, left_out)) for each in competing]
            result = evaluate(
                competing, test, chosen.candidate, folder, len(run.input.corpus),
                seed=run.seed, progress=progress, **run.settings["evaluate"],
            )  # fmt: skip
        runs = {name: read_run(run_file(folder, name)) for name in (result.baseline, result.candidate)}
        write_json(folder / "chosen.json", {**chosen._asdict(), "on": str(held_out)})
        write_json(folder / "measured.json", result.for_report())
        write_jsonl(folder / "examples.jsonl", examples(run, result, runs, test.queries, test.qrels))
        asked = result.per_query[chosen.candidate][MAIN].keys()
        notes = _notes(test, result, asked)
        if given_run is not None:
            n_hits = Counter(hit.query_id for hit in read_run(run_file(folder, FIRST_STAGE)))
            deepest = max(n_hits.values(), default=0)
            names = notes["providers"] if deepest < len(run.input.documents) else ()
            too_low = cut_below(map(measure_of, names), deepest)
            notes["first_stage"] = {"missing": len(asked - n_hits.keys()), "deepest": deepest, "too_low": too_low}
        if recalls := approximate_recall(run, members, test.queries):
            notes["approximate_recall"] = recalls
        in_prompts = 0 if test.is_synthetic else len(run.input.labels.measuring.queries) - len(test.queries)
        dropped = {"example of a prompt": in_prompts, "not drawn": len(test.queries) - len(asked)}
        dropped = {reason: count for reason, count in dropped.items() if count}
        return Account(len(test.queries) + in_prompts, len(asked), dropped, notes=notes)

    stages: list[StageOutput | None] = [sampled, steered, indexed, trained, labeled, distilled]
    inputs = {
        **{output.name: output.fingerprint for output in stages if output},
        **run.read(*ENCODER, "train.max_tokens", "distill.max_active_dims"),
        **{f"notes of {output.name}": output.noted() for output in (trained, distilled) if output},
        DOCUMENTS: run.input.corpus.fingerprint,
        "hybrid": "reciprocal ranks",  # earlier versions weighted it: their measurements are redone
        "labels": run.input.labels.measuring.fingerprint,
        "dev": run.input.labels.choosing.fingerprint,
        **{name: named.fingerprint_of(name) for name in named_rerankers(run)},
        **({"first-stage": sha256(path)} if (path := run.input.first_stage) else {}),
    }
    return run.make(Evaluated, work, inputs=inputs, unit="searches")
