"""`acclimate adapt`: run the whole chain, or with --dry-run print the plan."""

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
    """Adapt search to a corpus and measure whether it helped. Run the same command again to resume.

    Parameters
    ----------
    corpus
        A BEIR folder; a .jsonl, .jsonl.gz, .csv, .tsv, .parquet or TREC <DOC> file; a folder of .txt, .md, .rst,
        .adoc, .html, .ipynb, .epub, .odt, .odp, .pdf, .docx and .pptx files; a public collection by name, such as
        beir/scifact or lotte/lifestyle/dev/search; irds:ID; or pydocs, the documentation of this Python.
    out
        Output folder.
    recipe
        A named recipe (see acclimate recipes list) or a TOML file; separate several with commas, later ones take
        precedence.
    queries
        Queries to measure on: BEIR's queries.jsonl, a table of ids and texts, or TREC topics. Needs --qrels.
    qrels
        Judgments for --queries, as BEIR or TREC qrels.
    log
        Real queries without judgments: a .txt file with one query per line, or a .jsonl, .csv or .tsv export of a
        search engine or analytics tool. Personal data is removed first.
    from_queries
        Existing synthetic queries to use instead of asking an LLM: of acclimate, InPars, GPL and others, or a BEIR
        folder.
    from_nway
        Existing training examples to use instead of mining or, if they have scores, instead of labelling. If they lack
        query texts, give them with --from-queries.
    first_stage
        Results of your own engine for the evaluation queries, to compare with: a TREC run or a ColBERT ranking.
    reranker
        Existing reranker to use instead of training one: a folder, a Hugging Face id, or a scorer as in label.teachers.
        It reads train.max_tokens.
    dry_run
        Check everything and print what would be done, without doing it.
    max_cost
        Stop when LLM calls have cost this many US dollars in total; STAGE=USD limits one stage. Local LLMs are free.
    max_tokens
        Stop when LLMs have read and written this many tokens in total; STAGE=N limits one stage.
    prices
        TOML file with LLM prices: a table ["openai:MODEL"] with prompt and completion, in dollars per million tokens.
    batch
        Write the LLM requests to this file for a batch endpoint, and stop. Load the results with acclimate cache fill.
    executor
        Ray cluster whose workers encode, generate, search and score: ray://HOST:10001, or ray for RAY_ADDRESS or a
        cluster on this machine. Options to append: ,workers=N ,cpus=N ,gpus=N (per worker; fractions of a GPU work).
    seed
        Random seed; by default the recipe's, or 0.
    """
    arguments = locals()
    run = acclimate.plan if arguments.pop("dry_run") else acclimate.adapt
    result = run(settings=arguments.pop("set_") or (), **arguments)
    if isinstance(result, str):
        print(result)
    else:
        show(result.report)
