"""Check the number of documents before work begins, by drawing as `sample` will, and of queries after filtering.

Splits, prompts made from the corpus, and rerankers each need a minimum.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from acclimate.base.errors import DataError, SettingError
from acclimate.base.text import command, counted
from acclimate.corpus.formats.data_files import is_data
from acclimate.corpus.provided_queries import left_out
from acclimate.corpus.sides import Side
from acclimate.learn.rerankers.groups import n_parts
from acclimate.run.run import Run
from acclimate.stages import provided
from acclimate.stages.filter import BEST, Filtered
from acclimate.stages.sample import Sample, Sampled, preview
from acclimate.stages.seed import fewest_docs
from acclimate.stages.skipped import provided_stages, skipped
from acclimate.stages.unseen import labels_unseen, n_taught

FEWEST_DOCUMENTS = 8  # minimum to write queries for: two to choose on, two to measure on, four to learn from
_MORE = {False: "draw more (sample.n_docs)", True: "give more queries"}  # by whether queries were provided
_LOOKED_AT = 1000  # documents examined first; all, only if these are not enough
_SETTING_OF = {  # reason for skipping a document -> the setting behind it
    "short": "min_chars",
    "near duplicate": "near_duplicates",
    "source is full": "max_per_source",
    "not drawn": "n_docs",
    "example of a prompt": "examples",
}


def check_size(run: Run, *, holds_out: bool) -> None:
    """Raises DataError for too few documents to write queries for, SettingError for splits and prompts that need more.

    Examines no more documents than necessary. holds_out: documents are needed for the dev and test splits.
    """
    settings = run.settings["sample"]
    needed = FEWEST_DOCUMENTS if holds_out else 1
    to_learn_from, learner = _learners(run, holds_out)
    test_share = run.input.labels.test_share
    if holds_out and not 0 < settings["dev_share"] < 1 - test_share:
        raise SettingError(
            f"sample.dev_share is {settings['dev_share']:g}; expected above 0 and below {1 - test_share:g}: some "
            "documents are to choose on, and some to learn from"
        )
    if holds_out:
        _check_kept(run)
    documents, learned, dropped = 0, 0, dict[str, int]()
    for drawn in _draws(run, test_share, 4 * max(needed, to_learn_from)):
        documents = len({run.input.parents.get(doc_id, doc_id) for doc_id in drawn.splits})
        learned, dropped = sum(side == "train" for side in drawn.splits.values()), drawn.dropped
        if documents >= needed and learned >= to_learn_from:
            return
    is_given = run.input.provided_queries is not None
    shortage = "given queries that may teach are for" if is_given else "queries can be written for"
    shortage += f" {documents:,} of {counted(len(run.input.documents), 'document')}"
    shortage += left_out(run.input.documents.dropped)
    if run.input.provided_queries is not None:
        shortage += left_out(provided.left_out(run, run.input.provided_queries))
    shortage += _passed_over(dropped, settings, run.input.unit)
    if documents < needed:
        why = ", to choose on, to measure on and to learn from" if holds_out else ""
        raise DataError(
            f"{shortage}; expected {needed} at least{why}: {_remedy(run, dropped)}",
            path=run.input.corpus.source or None,
        )
    raise SettingError(
        f"{shortage}, and {learned:,} of those are to learn from; {learner} need {to_learn_from:,}: lower these "
        f"settings, or {_MORE[is_given]}"
    )


def _check_kept(run: Run) -> None:
    """Raises SettingError if a filter keeps fewer queries than there are splits."""
    settings, has_test = run.settings["filter"], run.input.labels.test_share > 0
    n_splits = 3 if has_test else 2
    if settings["keep_top_k"] < n_splits and not BEST.isdisjoint(settings["filters"]):
        raise SettingError(
            f"filter.keep_top_k is {settings['keep_top_k']}; expected {n_splits} at least: a query to learn from, one "
            f"to choose on{' and one to measure on' if has_test else ''}"
        )


def _draws(run: Run, test_share: float, fewest: int) -> Iterator[Sample]:
    """Samples to try: first a few documents that may suffice, then all."""
    if run.input.provided_queries is not None:
        yield provided.preview(run, test_share)
        return
    n_docs = run.settings["sample"]["n_docs"]
    first = dict(islice(run.input.corpus.items(), _LOOKED_AT))
    yield preview(run, first, test_share, n_docs=min(n_docs, fewest))
    yield preview(run, run.input.corpus, test_share)


def _learners(run: Run, holds_out: bool) -> tuple[int, str]:
    """The number of training documents needed, and what needs them."""
    seed, train, per_doc = run.settings["seed"], run.settings["train"], run.settings["generate"]["per_doc"]
    needs = [(1, "the train side")]
    if run.seeds_prompts:
        of_examples = f"seed.n_examples={counted(seed['n_examples'], 'example')}"
        prompts = f"seed.n_prompts={counted(seed['n_prompts'], 'prompt')} of {of_examples}"
        needs.append((fewest_docs(**seed), prompts))
    parts = n_parts(train["rerankers"])
    done = {*skipped(run), *provided_stages(run)}
    if holds_out and parts and "train" not in done:
        queries = f"train.min_queries={counted(train['min_queries'], 'query')}, {per_doc} of a document,"
        needs.append((math.ceil(parts * train["min_queries"] / per_doc), f"train.rerankers={parts} of {queries}"))
    # Provided queries per document vary; their number is checked after filtering.
    if holds_out and labels_unseen(run) and not {"train", "label"} & done and not run.provided.brings_queries:
        taught = n_taught(run)
        rerankers = (
            f"label.queries=unseen, and rerankers that learn from {counted(taught, 'query')} in all (train.max_queries="
            f"{train['max_queries']} each), {per_doc} of a document,"
        )
        needs.append((taught // per_doc + 1, rerankers))
    return max(needs)


def _passed_over(dropped: Mapping[str, int], settings: Mapping[str, Any], kind: str) -> str:
    """How many documents or passages were skipped for each reason, and the settings behind it."""
    reasons: list[str] = []
    for reason, count in dropped.items():
        setting = _SETTING_OF.get(reason)
        value = f" (sample.{setting}={settings[setting]})" if setting else ""
        reasons += [f"{reason} {count:,}{value}"] if count else []
    return f"; {kind} passed over: {', '.join(reasons)}" if reasons else ""


def _remedy(run: Run, dropped: Mapping[str, int]) -> str:
    """What to do about too few documents; adding some is no use if enough were merely not drawn."""
    if run.input.provided_queries is not None:
        return "give more queries"
    if not dropped.get("not drawn"):
        has_tables = any(is_data(Path(reason.split()[0])) for reason in run.input.documents.dropped)
        return "add documents" + (", or give the table that has them instead of its folder" if has_tables else "")
    # One long document may have most of the passages, so drawing more of them would not give more documents.
    return _MORE[False] + (", or fewer passages of each document (sample.max_per_source)" if run.input.parents else "")


def check_sides(run: Run, sampled: Sampled, filtered: Filtered) -> None:
    """Raises DataError if no query is left to learn from, to choose on, or to measure on."""
    drawn, sides = Counter(sampled.splits.values()), filtered.sides(sampled)
    uses: dict[Side, str] = {"train": "to learn from", "dev": "to choose on"}
    more = _MORE[run.input.provided_queries is not None]
    if run.input.provided_queries is None and len(sampled.splits) < run.settings["sample"]["n_docs"]:  # no more to draw
        more = "have more queries written of each (generate.per_doc), add documents"
    filters_did = any(filtered.manifest["dropped"].values())
    otherwise = (
        "filter less" if filters_did else f"see what became of the others: {command('inspect', filtered.folder.parent)}"
    )
    uses |= {"test": "to measure on"} if run.input.labels.test_share else {}
    for side, use in uses.items():
        if not sides[side]:
            raise DataError(
                f"{counted(len(filtered.queries), 'query is', 'queries are')} left after the filters, and none {use}, "
                f"where {counted(drawn[side], 'document was', 'documents were')} to give some; {more}, or {otherwise}",
                path=filtered.folder,
            )
