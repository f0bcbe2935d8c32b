"""Commands with the names and options of the InPars toolkit: `acclimate inpars ...`.

The implementation is in `api.inpars`, imported when a command runs.
"""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from acclimate.base.text import counted
from acclimate.cli.options import Count, File, FilePath, Flag, Positive

inpars_app = App(
    name="inpars",
    help="Commands of the InPars toolkit, with its option names and files. See docs/inpars.md.",
    help_format="plaintext",
    default_parameter=Parameter(negative=(), name_transform=lambda name: name.rstrip("_")),
)
_Run = Annotated[str | None, Parameter(name=("--input_run", "--initial_run"), metavar="FILE|bm25")]


@inpars_app.command
def generate(
    *,
    dataset: str,
    output: Path,
    base_model: str = "EleutherAI/gpt-j-6B",
    prompt: str = "inpars",
    n_fewshot_examples: Positive = 3,
    max_doc_length: Positive = 256,
    max_query_length: Count = 200,
    max_prompt_length: Positive = 2048,
    max_new_tokens: Positive = 64,
    max_generations: Positive = 100_000,
    seed: Count = 1,
) -> None:
    """Have an LLM write a query for each of a number of documents.

    Parameters
    ----------
    dataset
        The documents, in any form that `acclimate adapt` takes.
    output
        File for the queries, one JSON object per line, with the text of their documents.
    base_model
        The LLM: a name or folder for transformers, or openai:MODEL and so on.
    prompt
        Name of a built-in prompt, or a file; acclimate prompts list shows them.
    n_fewshot_examples
        Examples that a prompt without its own ones shows: training queries of the collection with their documents.
    max_doc_length
        Tokens of a document.
    max_query_length
        Tokens of an example's query.
    max_prompt_length
        Tokens of the prompt with its answer; documents are truncated further to fit.
    max_new_tokens
        Tokens of an answer.
    max_generations
        Number of documents, drawn at random.
    seed
        Seed of the draw.
    """
    arguments = locals()
    from acclimate.api.inpars import queries

    print(f"{counted(queries.generate(**arguments), 'query')}: {output}")


@inpars_app.command(name="filter")
def filter_command(
    *,
    input: Path,
    output: Path,
    filter_strategy: Literal["scores", "reranker"] = "scores",
    keep_top_k: Positive = 10_000,
    model_name_or_path: str = "castorini/monot5-3b-msmarco-10k",
    min_tokens: Count = 3,
    max_tokens: Positive = 1000,
    skip_questions_copied_from_context: Flag = False,
) -> None:
    """Keep the queries with the highest LLM log-probabilities, or the highest reranker scores.

    Parameters
    ----------
    input
        Queries as generate writes them.
    output
        File for the queries that are kept, best first, each with its score.
    filter_strategy
        scores: mean log-probability; reranker: score of the query with its document.
    keep_top_k
        Number of queries to keep.
    model_name_or_path
        The reranker, for --filter_strategy reranker.
    min_tokens
        Drop shorter queries, in tokens of the LLM, or in words if these are unknown.
    max_tokens
        Drop longer ones.
    skip_questions_copied_from_context
        Drop queries that are part of their document.
    """
    arguments = locals()
    from acclimate.api.inpars import queries

    print(f"{counted(queries.filter(**arguments), 'query')}: {output}")


@inpars_app.command(name="generate_triples")
def generate_triples(
    *, dataset: str, input: Path, output: Path, n_samples: Positive = 100, max_hits: Positive = 1000, seed: Count = 1
) -> None:
    """Sample negatives from BM25's top results for each query and its document.

    Parameters
    ----------
    dataset
        The documents, in any form that `acclimate adapt` takes.
    input
        Queries as generate and filter write them.
    output
        File for the triples: query, document and negative, separated by tabs.
    n_samples
        Negatives per query.
    max_hits
        Draw them from this many of BM25's first documents; the query's own is never drawn.
    seed
        Seed of the draws.
    """
    arguments = locals()
    from acclimate.api.inpars import training

    print(f"{counted(training.generate_triples(**arguments), 'triple')}: {output}")


@inpars_app.command
def train(
    *,
    triples: Annotated[Path, Parameter(name=("--triples", "--pairs"))],
    output_dir: Path,
    base_model: str = "google-t5/t5-base",
    max_doc_length: Positive = 300,
    max_steps: Positive = 156,
    learning_rate: float = 3e-4,
    per_device_train_batch_size: Positive = 8,
    gradient_accumulation_steps: Positive = 16,
    seed: Count = 1,
) -> None:
    """Train a reranker on triples or pairs; by default 156 steps of 128 rows, as in the papers.

    Parameters
    ----------
    triples
        Triples as generate_triples writes them, or rows of query, passage and label.
    output_dir
        New folder for the model.
    base_model
        The model to start from: a T5, a cross-encoder, or an LLM, by name or folder.
    max_doc_length
        Tokens of a query with a document.
    max_steps
        Number of steps.
    learning_rate
        Learning rate, constant.
    per_device_train_batch_size
        Rows that are computed together, half of them relevant.
    gradient_accumulation_steps
        Such batches per step.
    seed
        Seed of the drawn negatives and of training.
    """
    arguments = locals()
    from acclimate.api.inpars import training

    print(f"reranker: {training.train(**arguments)}")


@inpars_app.command
def rerank(
    *,
    dataset: str,
    output_run: Path,
    model: str = "castorini/monot5-small-msmarco-100k",
    input_run: _Run = None,
    top_k: Positive = 1000,
) -> None:
    """Rerank the top documents of a run, or of BM25 if no run is given.

    Parameters
    ----------
    dataset
        The documents and queries, in any form that `acclimate adapt` takes.
    output_run
        File for the TREC run.
    model
        The reranker, by name or folder.
    input_run
        TREC run to rerank.
    top_k
        Documents per query to rerank.
    """
    from acclimate.api.inpars import ranking

    print(f"run: {ranking.rerank(dataset, model, input_run or ranking.BM25_RUN, output_run, top_k=top_k)}")


@inpars_app.command
def evaluate(
    *,
    run: str,
    qrels: FilePath = None,
    dataset: File = None,
    relevance_threshold: Positive = 1,
    remove_unjudged: Flag = False,
    json: FilePath = None,
) -> None:
    """Measure a TREC run, or bm25 over a collection.

    Parameters
    ----------
    run
        TREC run, or bm25.
    qrels
        File of judgments; by default those of --dataset.
    dataset
        Judged collection, in any form that `acclimate adapt` takes.
    relevance_threshold
        Lowest grade that counts as relevant.
    remove_unjudged
        Ignore documents without a judgment.
    json
        Write the result to this file, too.
    """
    arguments = locals()
    from acclimate.api.inpars import ranking

    print(json_format.dumps(ranking.evaluate(**arguments), indent=1))
