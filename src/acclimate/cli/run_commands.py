"""The commands on a run: what it is doing, what came of it, its search, and what else is made of it."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acclimate
from acclimate.cli.options import Count, Counts, FilePath, Flag, Folder, K, Name, Seed, Text
from acclimate.cli.shell import say
from acclimate.cli.stage_commands import show

Url = Annotated[str | None, Parameter(metavar="URL")]


def report(run_dir: Path) -> None:
    """Print the report of a finished run again, and write report.json and report.html anew. No stage is made.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    """
    show(acclimate.open(run_dir).write_report())


def status(run_dir: Path, *, json: Flag = False) -> None:
    """Say what a run is doing, from any terminal: the stage at work, how far it is and the time left; or how it ended.

    RUN-DIR/run.log has every line that was said since the run was begun.

    Parameters
    ----------
    run_dir
        Folder of a run, begun or finished.
    json
        As JSON, for programs.
    """
    state = acclimate.status(run_dir)
    if json:
        print(json_format.dumps({**state._asdict(), "stages": [stage._asdict() for stage in state.stages]}, indent=2))
    else:
        print(state)


def inspect(run_dir: Path, *, sample: Count = 50, seed: Seed = 0, prompt: Name = None, reason: Text = None) -> None:
    """Show the synthetic queries of a run: what they are like, what was turned down and why; and a sample, as a page.

    Parameters
    ----------
    run_dir
        Folder of a run in which queries are generated.
    sample
        Answers of the LLM to show on the page, rejected ones among them.
    seed
        Of the draw of the sample and of the examples.
    prompt
        Draw the sample only from the answers to this prompt.
    reason
        Draw the sample only from what was turned down for this reason.
    """
    page = acclimate.open(run_dir).inspect(sample=sample, seed=seed, prompt=prompt, reason=reason)
    print(page)
    print(f"Page: {page.path}")


def search(run_dir: Path, query: str, *, k: K = 10, system: Name = None) -> None:
    """Search the corpus of a run with the system that it recommends.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    query
        What to search for.
    k
        Documents to show.
    system
        Another system of the run, by name.
    """
    if hits := acclimate.open(run_dir).search(query, k, system):
        print(*hits, sep="\n")
    else:
        say("no document has a word of the query")


def curve(run_dir: Path, *, queries: Counts = None, lists: Counts = None) -> None:
    """Show how search gets better with more synthetic queries and more labelled lists, so that you know when to stop.

    Trains anew on parts of what a run has: rerankers on synthetic queries, students on the lists that its teacher
    labelled; the teacher stays as it is. Each part lies within the next larger one. Every point is measured on the
    held-out queries that choices are made on, and on those that measure the run: they chose nothing, so only they say
    what is more than chance. Each is kept in RUN-DIR/curve, so an interrupted command goes on; the run stays as it is,
    and its report has the curves from then on.

    Read the sentence below the table first. To get more queries, raise sample.n_docs or generate.per_doc; to train the
    reranker on more of them, train.max_queries.

    Parameters
    ----------
    run_dir
        Folder of a run that is labelled: acclimate label RUN-DIR is enough.
    queries
        Numbers of synthetic queries to train rerankers on, such as 100,200,400; none leaves them out. By default 100,
        then double as many each time, up to all.
    lists
        Numbers of labelled lists to train the students on, in the same way.
    """
    page = acclimate.open(run_dir).curve(queries=queries, lists=lists)
    print(page)
    print(f"Page: {page.path}")


def export(run_dir: Path, format: str, *, out: Folder | None = None, system: Name = None, url: Url = None) -> None:
    """Write the system that a run recommends, or another of it, for an engine that you run; see docs/exports.md.

    A killed command goes on where it was; where the same export is there already, nothing is done.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    format
        pgvector, sqlite and so on; an unknown one says which there are.
    out
        A folder for it, new or empty; by default exports/FORMAT in RUN-DIR.
    system
        Another system of the run, by name.
    url
        A server to load it into.
    """
    print(acclimate.open(run_dir).export(format, out, system=system, url=url))


def update(run_dir: Path, newdocs: str | None = None, *, remove: FilePath = None, all: bool = False) -> None:
    """Search documents that are new or changed, and no longer those that are gone. Nothing is trained.

    Documents are told apart by their ids: one that the run does not have is added, one whose title or text is another
    takes the place of what was there, one that is as it was costs nothing. What was measured stays as it is in the
    report, which says how many documents came and went since. A killed command leaves the run as it was.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    newdocs
        Documents that are new or changed, in any form that `acclimate adapt` takes; others among them do no harm.
    remove
        A file of ids of documents to remove, one a line.
    all
        These are all documents: remove those of the run that are not among them.
    """
    print(acclimate.open(run_dir).update(newdocs, remove=remove, all=all))


def forgetting(run_dir: Path, collection: str) -> None:
    """Say what the adapted retrievers of a run lost, or gained, on a labelled collection outside of it.

    The collection is indexed with the untouched base and with each student, and both are measured on its labelled
    queries. The report says it, too, from then on.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    collection
        A labelled collection, as adapt takes it: a BEIR folder, or one by name.
    """
    print(acclimate.forgetting(run_dir, collection))
