"""Commands on a run: status, report, search, inspection, export, update and further measurements."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acclimate
from acclimate.cli.options import Count, Counts, FilePath, Flag, Folder, K, Name, Seed, Text, Where
from acclimate.cli.shell import say
from acclimate.cli.stage_commands import show

Url = Annotated[str | None, Parameter(metavar="URL")]


def report(run_dir: Path) -> None:
    """Print the report of a finished run and rewrite report.json and report.html. Runs no stage.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    """
    show(acclimate.open(run_dir).write_report())


def status(run_dir: Path, *, json: Flag = False) -> None:
    """Show the current stage, progress and remaining time of a run, or how it ended. Works from any terminal.

    RUN-DIR/run.log has all messages since the run was started.

    Parameters
    ----------
    run_dir
        Folder of a run, finished or not.
    json
        Print JSON.
    """
    state = acclimate.status(run_dir)
    if json:
        print(json_format.dumps({**state._asdict(), "stages": [stage._asdict() for stage in state.stages]}, indent=2))
    else:
        print(state)


def inspect(run_dir: Path, *, sample: Count = 50, seed: Seed = 0, prompt: Name = None, reason: Text = None) -> None:
    """Show statistics of the synthetic queries of a run, what was rejected and why, and write a page with a sample.

    Parameters
    ----------
    run_dir
        Folder of a run with generated queries.
    sample
        Number of LLM answers to show on the page, rejected ones included.
    seed
        Random seed of the sample and the examples.
    prompt
        Sample only answers to this prompt.
    reason
        Sample only answers rejected for this reason.
    """
    page = acclimate.open(run_dir).inspect(sample=sample, seed=seed, prompt=prompt, reason=reason)
    print(page)
    print(f"Page: {page.path}")


def search(
    run_dir: Path, query: str, *, k: K = 10, system: Name = None, where: Where = None, json: Flag = False
) -> None:
    """Search the corpus of a run with the recommended system.

    Of each document, the part is shown that shares the most words with the query.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    query
        Query text.
    k
        Number of documents to show.
    system
        Name of another system of the run.
    where
        Search only documents with this value of a field; repeatable. "year>=2020" and "doc_id^=manuals/" work as well:
        see docs/serving.md.
    json
        Print JSON Lines, one object per document, with whole texts.
    """
    from acclimate.deploy.filters import from_texts

    run = acclimate.open(run_dir)
    hits = run.search(query, k, system, filters=from_texts(where or []))
    if json:
        for hit in hits:
            print(json_format.dumps(hit.as_dict()))
    elif hits:
        for hit, part in zip(hits, run.excerpts(query, hits), strict=True):
            print(hit.lines(part))
    else:
        say(f"no document {'with these fields fits' if where else 'contains a word of'} the query")


def curve(run_dir: Path, *, queries: Counts = None, lists: Counts = None) -> None:
    """Show how results change with more synthetic queries and more labelled lists, so that you know when to stop.

    Trains rerankers on nested subsets of the run's synthetic queries, and students on nested subsets of its labelled
    lists, with the same teacher. Each point is measured on the held-out queries used for choices and on the evaluation
    queries; only the latter chose nothing, so only they can tell an effect from chance. Points are stored in
    RUN-DIR/curve, so an interrupted command resumes. The run is not changed, but its report then shows the curves.

    Read the sentence below the table first. To get more queries, raise sample.n_docs or generate.per_doc; to train the
    reranker on more of them, raise train.max_queries.

    Parameters
    ----------
    run_dir
        Folder of a run up to the stage label: acclimate label RUN-DIR is enough.
    queries
        Numbers of synthetic queries to train rerankers on, such as 100,200,400; none skips the rerankers. By default
        100, 200, 400 and so on, up to all.
    lists
        Numbers of labelled lists to train students on, as for queries.
    """
    page = acclimate.open(run_dir).curve(queries=queries, lists=lists)
    print(page)
    print(f"Page: {page.path}")


def export(run_dir: Path, format: str, *, out: Folder | None = None, system: Name = None, url: Url = None) -> None:
    """Export the recommended system of a run, or another one, to a search engine, or its models as folders.

    Run a killed command again to resume. If the same export exists already, nothing is done.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    format
        pgvector, sqlite, qdrant, lancedb, elasticsearch, opensearch or vespa (docs/exports.md); or only the models:
        hf, onnx, pylate or colbert (docs/exported-models.md).
    out
        New or empty folder to write to; by default exports/FORMAT in RUN-DIR.
    system
        Name of another system of the run.
    url
        Server to load the export into.
    """
    print(acclimate.open(run_dir).export(format, out, system=system, url=url))


def update(
    run_dir: Path, newdocs: str | None = None, *, remove: FilePath = None, all: Flag = False, dry_run: Flag = False
) -> None:
    """Add, change and remove documents of a finished run, without training.

    Documents are matched by id: new ids are added, documents with a changed title or text are replaced, and unchanged
    ones cost nothing. The report keeps its measurements and states how many documents were added and removed since. A
    killed command leaves the run as it was.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    newdocs
        New and changed documents, in any form that `acclimate adapt` takes; unchanged ones may be among them.
    remove
        File with the ids of documents to remove, one per line.
    all
        NEWDOCS is the whole collection: remove all other documents.
    dry_run
        Print what would be added, changed and removed, without doing it.
    """
    run = acclimate.open(run_dir)
    print((run.plan_update if dry_run else run.update)(newdocs, remove=remove, all=all))


def forgetting(run_dir: Path, collection: str) -> None:
    """Measure what the adapted retrievers of a run lost or gained on another labelled collection.

    The collection is indexed with the untouched base and with each student, and both are measured on its labelled
    queries. The result is added to the report.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    collection
        Labelled collection: a BEIR folder, or a name as for adapt.
    """
    print(acclimate.forgetting(run_dir, collection))
