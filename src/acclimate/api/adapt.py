"""Adapt search to a corpus, or estimate what that would take."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.api.budget import Limit, limit
from acclimate.api.run import Run
from acclimate.base import distributed, ray_cluster
from acclimate.base.arguments import StrPath, path_text
from acclimate.base.disk import refuse_read_only
from acclimate.base.domains import SEEDS
from acclimate.base.errors import SettingError
from acclimate.base.progress import Shown, shown
from acclimate.run import in_memory, status
from acclimate.run.in_memory import Documents
from acclimate.run.provided import Provided
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import Changes, merged, resolve, whole_number
from acclimate.stages import chain
from acclimate.stages.runs import new_run

if TYPE_CHECKING:
    from acclimate.run.run import Run as StageRun


def adapt(
    corpus: StrPath | Documents,
    *,
    out: StrPath,
    recipe: StrPath = "quick",
    queries: StrPath | None = None,
    qrels: StrPath | None = None,
    log: StrPath | None = None,
    from_queries: StrPath | None = None,
    from_nway: StrPath | None = None,
    first_stage: StrPath | None = None,
    reranker: StrPath | None = None,
    seed: int | None = None,
    max_cost: Limit = None,
    max_tokens: Limit = None,
    prices: StrPath | None = None,
    batch: StrPath | None = None,
    executor: str | None = None,
    progress: Shown = "auto",
    settings: Changes = (),
    **stages: Mapping[str, Any],
) -> Run:
    """Adapt search to a corpus and measure whether it helped; returns the finished run.

    Calling it again resumes an interrupted run; a finished one returns within seconds.

    Raises SettingError for an unknown setting or invalid value, DataError for a corpus or other file that cannot be
    used and for a stage that keeps nothing, MissingExtra if an optional package is needed, LLMError for a server that
    does not answer, BudgetExceeded when a limit is reached, and BatchWritten when requests went into `batch`. All are
    AcclimateErrors; what was made and paid for is kept.

    >>> run = acclimate.adapt("docs/", out="run", sample={"n_docs": 500}, progress=None)
    >>> run.report.verdict
    'NO DIFFERENCE'

    Parameters
    ----------
    corpus
        A BEIR folder; a .jsonl, .jsonl.gz, .csv, .tsv, .parquet or TREC <DOC> file; a folder of .txt, .md, .rst,
        .adoc, .html, .ipynb, .epub, .odt, .odp, .pdf, .docx and .pptx files; a public collection by name, such as
        `beir/scifact` or `lotte/lifestyle/dev/search`; `irds:ID`; or `pydocs`, the documentation of this Python. Or the
        documents themselves: any iterable of `Doc`s, or of dicts with `_id`, `text`, perhaps `title`, and other fields;
        they are written to a file in `out`.
    out
        Output folder.
    recipe
        A named recipe (see `recipes`) or a TOML file; separate several with commas, later ones take precedence.
    queries
        Queries to measure on: BEIR's queries.jsonl, a table of ids and texts, or TREC topics. Needs `qrels`.
    qrels
        Judgments for `queries`, as BEIR or TREC qrels.
    log
        Real queries without judgments: a .txt file with one query per line, or a .jsonl, .csv or .tsv export of a
        search engine or analytics tool. Personal data is removed first; see docs/queries.md.
    from_queries
        Existing synthetic queries to use instead of asking an LLM: of acclimate, InPars, GPL and others, or a BEIR
        folder.
    from_nway
        Existing training examples to use instead of mining or, if they have scores, instead of labelling. If they lack
        query texts, give them with `from_queries`.
    first_stage
        Results of your own engine for the evaluation queries, to compare with: a TREC run or a ColBERT ranking.
    reranker
        Existing reranker to use instead of training one: a folder, a Hugging Face id, or a scorer as in label.teachers.
        It reads train.max_tokens.
    seed
        Random seed; by default the recipe's, or 0. (Settings of the stage `seed` go into `settings`.)
    max_cost
        Stop when LLM calls have cost this many US dollars in total, or by stage: `{"generate": 2.5}`. Local LLMs are
        free.
    max_tokens
        Stop when LLMs have read and written this many tokens in total, or by stage.
    prices
        TOML file with LLM prices: a table ["openai:MODEL"] with prompt and completion, in dollars per million tokens.
    batch
        Write the LLM requests to this file for a batch endpoint, and stop. Load the results with `Answers.fill`.
    executor
        Ray cluster whose workers encode, generate, search and score: `ray://HOST:10001`, or `ray` for RAY_ADDRESS or a
        cluster on this machine; see docs/how-to/several-machines.md.
    progress
        A callable that gets stage, done, total and unit; None for silence; "auto" for a progress bar in a terminal or a
        notebook, and else lines in the log `acclimate`.
    settings
        Settings to change: by stage, or as `stage.setting=value` texts.
    **stages
        The same for one stage: `sample={"n_docs": 500}`. docs/settings.md lists all of them.
    """
    provided = Provided.of(
        queries=queries, qrels=qrels, log=log,
        from_queries=from_queries, from_nway=from_nway, first_stage=first_stage, reranker=reranker,
    )  # fmt: skip
    name = in_memory.name_of(corpus, Path(path_text(out, "out")))
    run = _new_run(name, out, recipe, provided, seed, [settings, stages])
    limit(run, max_cost, max_tokens, prices, batch)
    return run_until(run, until="evaluate", progress=progress, executor=executor, corpus=corpus)


def plan(
    corpus: StrPath | Documents,
    *,
    out: StrPath,
    recipe: StrPath = "quick",
    queries: StrPath | None = None,
    qrels: StrPath | None = None,
    log: StrPath | None = None,
    from_queries: StrPath | None = None,
    from_nway: StrPath | None = None,
    first_stage: StrPath | None = None,
    reranker: StrPath | None = None,
    seed: int | None = None,
    max_cost: Limit = None,
    max_tokens: Limit = None,
    prices: StrPath | None = None,
    batch: StrPath | None = None,
    executor: str | None = None,
    settings: Changes = (),
    **stages: Mapping[str, Any],
) -> str:
    """Describe what `adapt` with the same arguments would do: stages, LLM calls, tokens, cost and rough time.

    Raises what `adapt` would raise before work begins, except for what needs models, API keys or a hub.

    >>> "generate" in acclimate.plan("docs/", out="another")
    True
    """
    from acclimate.report.plan import describe

    provided = Provided.of(
        queries=queries, qrels=qrels, log=log,
        from_queries=from_queries, from_nway=from_nway, first_stage=first_stage, reranker=reranker,
    )  # fmt: skip
    if executor is not None:
        ray_cluster.Executor.parse(executor)
    with tempfile.TemporaryDirectory() as elsewhere:
        name = in_memory.name_of(corpus, Path(elsewhere))
        run = _new_run(name, out, recipe, provided, seed, [settings, stages])
        run.corpus_folder = Path(elsewhere)  # before anything is read
        limit(run, max_cost, max_tokens, prices, batch)
        refuse_read_only(run.workspace.folder)
        in_memory.write(corpus, name)
        chain.check(run, asks=False)
        chain.check_input(run)
        chain.check_models(run, asks=False)
        return describe(run)


def run_until(
    run: StageRun,
    *,
    until: str,
    progress: Shown,
    executor: str | None = None,
    corpus: StrPath | Documents | None = None,
) -> Run:
    """Make the run's stages up to `until`, and its report after the last one. corpus: as given; may be in memory."""
    from acclimate.report import assemble

    run.workspace.refuse_foreign()
    distributed.take_gpu()
    with (
        run.workspace.lock(),
        shown(progress),
        status.recording(run.workspace.folder),
        ray_cluster.workers(executor),
    ):
        if corpus is not None and distributed.is_main():
            in_memory.write(corpus, run.input.source)  # its name may be relative to another working directory
        distributed.broadcast(None)  # other processes wait until it is written
        outputs = chain.adapt(run, until=until)
        if "evaluate" in outputs and distributed.is_main():
            assemble.write(run, outputs)
        distributed.broadcast(None)  # other processes wait until the report is written
    return Run(run.workspace.folder)


def _new_run(
    corpus: str, out: StrPath, recipe: StrPath, provided: Provided, seed: int | None, changes: Sequence[Changes]
) -> StageRun:
    """Create a run without budget limits."""
    if not path_text(out, "out"):
        raise SettingError("out is empty; expected a folder")
    if isinstance(seed, Mapping):
        raise SettingError(f"seed is the random seed; for the stage: settings={{'seed': {seed}}}")
    loaded = load_recipe(path_text(recipe, "recipe"))
    seed = (loaded.seed or 0) if seed is None else seed
    return new_run(
        Path(out),
        corpus,
        resolve(chain.STAGES, loaded, merged(provided.changes, *changes)),
        recipe=loaded.name,
        seed=whole_number(seed, "seed", SEEDS),
        provided=provided,
    )
