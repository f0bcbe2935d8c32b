"""`acclimate judge`: evaluate a finished run by an LLM's relevance grades."""

from __future__ import annotations

from pathlib import Path

import acclimate
from acclimate.cli.options import Dollars, File, FilePath, Model, Positive, Tokens


def judge(
    run_dir: Path,
    *,
    llm: Model = None,
    queries: File = None,
    log: File = None,
    grades: File = None,
    n: Positive = 100,
    depth: Positive = 10,
    prompt: str = "relevance",
    max_doc_tokens: Positive = 400,
    max_cost: Dollars = None,
    max_tokens: Tokens = None,
    prices: FilePath = None,
) -> None:
    """Have an LLM grade the top results of every system of a run, 0 to 3, and measure the systems on its grades.

    Without labelled queries, the verdict then rests on these grades, and the report is rewritten. Running the command
    again repeats no LLM call. See docs/judging.md for how reliable such a verdict is.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    llm
        LLM that grades, named as in generate.llm; by default filter.llm.
    queries
        Queries to judge on, as BEIR queries.jsonl. Without --queries and --log: the run's labelled test queries; else
        log queries that were not used for training; else the held-out synthetic queries.
    log
        Log of real queries to judge on; see adapt. Queries that the run showed or trained on are left out, also of
        --queries.
    grades
        Human grades for some of these queries, as BEIR or TREC qrels, to measure and correct the LLM's agreement with
        people. For labelled queries, their qrels are used.
    n
        Number of queries to judge on, 20 to 200; sampled if there are more.
    depth
        Number of top documents to grade per system, 10 to 100.
    prompt
        Prompt: relevance, grade, or a TOML file whose target contains {query} and {document}.
    max_doc_tokens
        Maximum tokens of a document that the LLM reads.
    max_cost
        Stop when LLM calls have cost this many US dollars in total, the run's included; judge=USD limits this command
        alone.
    max_tokens
        Stop when LLMs have read and written this many tokens in total; judge=N limits this command alone.
    prices
        TOML file with LLM prices; see adapt.
    """
    arguments = locals()
    run = acclimate.open(arguments.pop("run_dir"))
    print(run.judge(**arguments))
    print(f"Grades: {run.folder / 'judge' / 'pairs.jsonl'}")
    print(f"Report: {run.folder / 'report.html'}")
