"""`acclimate adapt`: the whole way through, or what that would take."""

from __future__ import annotations

import acclimate
from acclimate.cli.options import Changes, Dollars, Executor, File, FilePath, Flag, Folder, Model, Recipe, Seed, Tokens
from acclimate.cli.stage_commands import show


def adapt(
    corpus: str,
    *,
    out: Folder,
    recipe: Recipe = "quick",
    queries: File = None,
    qrels: File = None,
    log: File = None,
    from_queries: File = None,
    from_nway: File = None,
    first_stage: File = None,
    reranker: Model = None,
    set_: Changes = None,
    dry_run: Flag = False,
    max_cost: Dollars = None,
    max_tokens: Tokens = None,
    prices: FilePath = None,
    batch: FilePath = None,
    executor: Executor = None,
    seed: Seed | None = None,
) -> None:
    """Adapt search to a corpus and say whether it helped. The same command again goes on where it was.

    Parameters
    ----------
    corpus
        A BEIR folder; a .jsonl, .jsonl.gz, .csv, .tsv or .parquet file, or one of TREC's <DOC>s; a folder of .txt, .md
        and .html files; a collection of the field by name, such as beir/scifact or lotte/lifestyle/dev/search;
        irds:ID; or pydocs, the documentation of this Python.
    out
        Folder for everything that is made.
    recipe
        Settings by name (acclimate recipes list), or a TOML file of your own; several by commas, of which the later
        counts.
    queries
        Queries of your own to measure on, as BEIR queries.jsonl; with --qrels.
    qrels
        Judgments for them, as BEIR or TREC qrels.
    log
        Real queries without judgments: a .txt file with a query a line, or a .jsonl, .csv or .tsv file as search
        engines and analytics export them. Personal data is cut out of them first.
    from_queries
        Synthetic queries, your own or published ones, in the place of those that an LLM would write: ours, those of
        InPars or GPL, or a BEIR folder.
    from_nway
        Training examples, in the place of those that would be mined, or, with scores, of the lists that a teacher would
        rate. --from-queries has the texts of their queries where they carry none.
    first_stage
        A TREC run or a ranking of ColBERT, by an engine of your own for the queries that measure, to compare with.
    reranker
        Somebody's reranker, by folder, Hugging Face id or as label.teachers has them, in the place of one that would be
        trained here. It reads train.max_tokens.
    dry_run
        Say what would be done, and do nothing; what could not begin is refused as without it.
    max_cost
        Stop when LLM calls have cost this many US dollars in all; STAGE=USD for those of one stage. Local LLMs cost
        nothing.
    max_tokens
        Stop when LLMs have read and written this many tokens in all; STAGE=N for those of one stage.
    prices
        TOML file with the prices of LLMs: ["openai:MODEL"] with prompt and completion, dollars per million tokens.
    batch
        Write what an LLM behind a server is to answer to this file, for a batch endpoint, and stop; the results come in
        with: acclimate cache fill.
    executor
        A Ray cluster whose workers encode, write, search and rate: ray://HOST:10001, or ray for that of RAY_ADDRESS or
        of this machine. Behind it, as far as wanted: ,workers=N ,cpus=N ,gpus=N (of each worker; parts of a GPU, too).
    seed
        Every draw follows from it; that of the recipe, or 0, where none is given.
    """
    run = acclimate.plan if dry_run else acclimate.adapt
    result = run(
        corpus,
        out=out,
        recipe=recipe,
        queries=queries,
        qrels=qrels,
        log=log,
        from_queries=from_queries,
        from_nway=from_nway,
        first_stage=first_stage,
        reranker=reranker,
        seed=seed,
        max_cost=max_cost,
        max_tokens=max_tokens,
        prices=prices,
        batch=batch,
        executor=executor,
        settings=set_ or (),
    )
    if isinstance(result, str):
        print(result)
    else:
        show(result.report)
