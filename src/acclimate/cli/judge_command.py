"""`acclimate judge`: what an LLM's grades say of a finished run."""

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
    """Have an LLM grade what every system of a finished run finds first, 0 to 3, and measure all of them on its grades.

    Where nobody labelled queries, the verdict rests on these grades then, and the report is written anew. The same
    command again asks nothing twice. docs/judging.md says what such a verdict is worth.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    llm
        LLM that grades, named as in generate.llm; that of filter.llm by default.
    queries
        Queries to judge on, with ids, as BEIR queries.jsonl. Without these and --log: the labelled queries that
        measured the run; else those of its log that nothing learned from; else the held-out synthetic ones.
    log
        Real queries to judge on, as people keep or export them: see adapt.
    grades
        What people said of some of these queries, as BEIR or TREC qrels: how far the LLM agrees with them is measured,
        and they correct it. Labelled queries bring theirs.
    n
        Queries to judge on, 20 to 200; drawn where there are more.
    depth
        First documents of each system that are graded, 10 to 100.
    prompt
        What the LLM is asked: relevance, grade, or a TOML file whose target holds {query} and {document}.
    max_doc_tokens
        Of a document, that the LLM reads.
    max_cost
        Stop when LLM calls have cost this many US dollars in all, those of the run included; judge=USD for those of
        this command.
    max_tokens
        Stop when LLMs have read and written this many tokens in all; judge=N for those of this command.
    prices
        TOML file with the prices of LLMs; see adapt.
    """
    run = acclimate.open(run_dir)
    judgment = run.judge(
        llm=llm,
        queries=queries,
        log=log,
        grades=grades,
        n=n,
        depth=depth,
        prompt=prompt,
        max_doc_tokens=max_doc_tokens,
        max_cost=max_cost,
        max_tokens=max_tokens,
        prices=prices,
    )
    print(judgment)
    print(f"Grades: {run.folder / 'judge' / 'pairs.jsonl'}")
    print(f"Report: {run.folder / 'report.html'}")
