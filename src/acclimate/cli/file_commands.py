"""The commands that work on files of the field, without a run of ours: TREC runs and judgments."""

from __future__ import annotations

import json as json_format
import shutil
import sys
import tempfile
from pathlib import Path

import acclimate
from acclimate.cli.options import Count, FilePath, Flag, Measure, Measures, Name, Seed


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
        The run that should be better.
    baseline
        The run that it is compared with.
    others
        More runs to compare it with.
    measure
        By a name of ir-measures, such as nDCG@10, R@1000, RR or AP.
    seed
        Of the test's and the interval's draws.
    """
    print(acclimate.compare(qrels, run, baseline, *others, measure=measure, seed=seed))


def evaluate_run(
    qrels: Path,
    *runs: Path,
    measures: Measures = "nDCG@10 R@100 RR@10 Success@5",
    relevance_threshold: Count = 1,
    remove_unjudged: Flag = False,
    json: Flag = False,
    per_query: FilePath = None,
) -> None:
    """Measure TREC runs by themselves, as trec_eval and ir_measures do: a table with a row for each.

    Every judged query counts; one that a run has nothing for is 0 (trec_eval -c). Of equal scores the larger id is
    first, whatever the ranks in the file.

    Parameters
    ----------
    qrels
        Judgments, as BEIR or TREC qrels.
    runs
        TREC runs, or rankings of ColBERT; .gz, too.
    measures
        Names of ir-measures, with blanks or commas between them: "nDCG@10 R@1000 RR AP(rel=2) Judged@10".
    relevance_threshold
        Grade from which on a document is relevant, for measures that know relevant or not.
    remove_unjudged
        Take out of the runs what nobody judged.
    json
        Print JSON: queries, providers (which library computed what), runs.
    per_query
        Write each query's values to this file, too: run, query_id, measure, value, with tabs between.
    """
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
    depth: Count = 1000,
    max_tokens: Count = 512,
    out: FilePath = None,
    tag: Name = None,
) -> None:
    """Re-rank a TREC run with any reranker: its scores, best first; what lies deeper follows in its old order.

    With --out a killed command loses a batch, and the same command goes on.

    Parameters
    ----------
    run
        A TREC run, or a ranking of ColBERT; .gz, too.
    model
        A reranker: a folder, one that train made, too, or a Hugging Face id; or KIND:MODEL, of cross-encoder, monot5,
        decoder, yes-no:LLM and likelihood:LLM.
    corpus
        Documents, as adapt takes them; a BEIR folder brings queries.
    queries
        Queries of your own, as BEIR queries.jsonl, or a table of ids and texts.
    depth
        Documents of each query to put in order.
    max_tokens
        Tokens of query and document together; the document is cut.
    out
        File for the run; without it, it is printed.
    tag
        Last column of the run; by default the model's name.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = out or Path(folder) / "run.trec"
        acclimate.rerank(run, model, path, corpus=corpus, queries=queries, depth=depth, max_tokens=max_tokens, tag=tag)
        if out is None:
            with path.open(encoding="utf-8") as lines:
                shutil.copyfileobj(lines, sys.stdout)
