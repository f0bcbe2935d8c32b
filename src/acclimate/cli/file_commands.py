"""Commands on TREC runs and judgments from anywhere, without a run of acclimate."""

from __future__ import annotations

import json as json_format
import shutil
import sys
import tempfile
from pathlib import Path

import acclimate
from acclimate.base.targets import refuse_replacing, refuse_unwritable
from acclimate.cli.options import FilePath, Flag, Measure, Measures, Name, Positive, Seed


def compare(
    qrels: Path,
    run: Path,
    baseline: Path,
    *others: Path,
    measure: Measure = "nDCG@10",
    seed: Seed = 0,
) -> None:
    """Compare TREC runs on the same judgments: paired randomization test, bootstrap interval, wins and losses.

    Parameters
    ----------
    qrels
        Judgments, as BEIR or TREC qrels.
    run
        Run expected to be better.
    baseline
        Run to compare it with.
    others
        Further runs to compare it with.
    measure
        An ir-measures name, such as nDCG@10, R@1000, RR or AP.
    seed
        Random seed of the test and the interval.
    """
    print(acclimate.compare(qrels, run, baseline, *others, measure=measure, seed=seed))


def evaluate_run(
    qrels: Path,
    *runs: Path,
    measures: Measures = "nDCG@10 R@100 RR@10 Success@5",
    relevance_threshold: Positive = 1,
    remove_unjudged: Flag = False,
    json: Flag = False,
    per_query: FilePath = None,
) -> None:
    """Measure TREC runs, as trec_eval and ir_measures do; prints a table with one row per run.

    Every judged query counts; a query without results in a run scores 0 (trec_eval -c). Ties are broken by document id,
    the larger first; the ranks in the file are ignored.

    Parameters
    ----------
    qrels
        Judgments, as BEIR or TREC qrels.
    runs
        TREC runs or ColBERT rankings, optionally gzipped.
    measures
        ir-measures names, separated by spaces or commas: "nDCG@10 R@1000 RR AP(rel=2) Judged@10".
    relevance_threshold
        Lowest grade that counts as relevant, for measures with binary relevance.
    remove_unjudged
        Remove unjudged documents from the runs.
    json
        Print JSON: queries, providers (the library that computed each measure), runs.
    per_query
        Also write the values of each query to this file: tab-separated run, query_id, measure, value.
    """
    if per_query is not None:
        refuse_unwritable(per_query)
        refuse_replacing(per_query, qrels, *runs)
    result = acclimate.evaluate_run(
        qrels,
        *runs,
        measures=measures,
        relevance_threshold=relevance_threshold,
        remove_unjudged=remove_unjudged,
    )
    if per_query is not None:
        result.write_per_query(per_query)
    print(json_format.dumps(result.as_dict(), indent=1, ensure_ascii=False) if json else result)


def rerank(
    run: Path,
    model: str,
    *,
    corpus: str,
    queries: FilePath = None,
    depth: Positive = 1000,
    max_tokens: Positive = 512,
    out: FilePath = None,
    tag: Name = None,
) -> None:
    """Rerank a TREC run with any reranker. Documents below the depth follow in their old order.

    With --out, a killed command loses at most one batch; run the same command again to resume.

    Parameters
    ----------
    run
        A TREC run or ColBERT ranking, optionally gzipped.
    model
        A reranker: a folder (such as train's), a Hugging Face id, or KIND:MODEL: cross-encoder:MODEL, monot5:MODEL,
        decoder:MODEL, yes-no:LLM or likelihood:LLM.
    corpus
        Documents, as for adapt; a BEIR folder includes queries.
    queries
        Queries, as BEIR queries.jsonl or a table of ids and texts.
    depth
        Documents per query to rerank.
    max_tokens
        Maximum tokens of query and document together; the document is truncated.
    out
        File to write the run to; by default it is printed.
    tag
        Last column of the run; by default the name of the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = out or Path(folder) / "run.trec"
        acclimate.rerank(run, model, path, corpus=corpus, queries=queries, depth=depth, max_tokens=max_tokens, tag=tag)
        if out is None:
            with path.open(encoding="utf-8") as lines:
                shutil.copyfileobj(lines, sys.stdout)
