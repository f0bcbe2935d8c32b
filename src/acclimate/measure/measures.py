"""How good a run is, query by query; and nDCG from ranks, for what is chosen on the way.

Each measure is always computed by the same library, whatever else is installed: `provider_of` says which, for the
manifest. Ties are broken here, by doc_id, before any library sees the run, because they would break them differently.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from acclimate.base.errors import DataError, SettingError, unknown
from acclimate.corpus.formats.fields import as_json
from acclimate.corpus.formats.trec import escaped, unescaped
from acclimate.records import Qrel, ScoredDoc

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAIN = "nDCG@10"  # what decides
MEASURES = ("nDCG@10", "R@100", "RR@10", "Success@5")
DEEPEST = max(int(measure.partition("@")[2]) for measure in MEASURES)  # rank that any of them looks at
_PROVIDERS = {  # all measures that take a cutoff and need nothing but a run and qrels
    "nDCG": "pytrec_eval",  # linear gains, as trec_eval
    "R": "pytrec_eval",
    "P": "pytrec_eval",
    "AP": "pytrec_eval",
    "Success": "pytrec_eval",
    "RR": "msmarco",  # pytrec_eval has no cutoff here
}


Record = TypeVar("Record", Qrel, ScoredDoc)


def per_query(
    run: Sequence[ScoredDoc], qrels: Sequence[Qrel], measures: Sequence[str] = MEASURES
) -> dict[str, dict[str, float]]:
    """measure -> query_id -> value, over every judged query, as `trec_eval -c` counts them.

    A query without hits has 0, and so has one of which nothing is judged relevant. Hits of other queries are ignored.
    Equal scores rank by doc_id. Raises DataError when no judgment is positive and when the run ranks a doc twice or by
    a score that is not a number.
    """
    if not measures:
        raise DataError("no measures to compute; expected some, for example nDCG@10")
    judged = dict.fromkeys(sorted({qrel.query_id for qrel in qrels}))
    if all(qrel.relevance <= 0 for qrel in qrels):
        raise DataError(f"none of the {len(qrels):,} judgments is positive; there is no query to measure on")
    # Grades below 0 (spam, in TREC's web tracks) gain nothing, and pytrec_eval expects none.
    grades = [_plain(qrel._replace(relevance=max(qrel.relevance, 0))) for qrel in qrels]
    ranked = [_plain(hit) for hit in ranks_as_scores([hit for hit in run if hit.query_id in judged])]
    library = _ir_measures()
    values = {}
    for measure in measures:
        name, cutoff = parsed(measure)
        provider = library.providers.registry[_PROVIDERS[name]]
        values[measure] = dict.fromkeys(judged, 0.0)
        for metric in provider.iter_calc([getattr(library, name) @ cutoff], grades, ranked):
            values[measure][unescaped(metric.query_id)] = float(metric.value)
    return values


def ndcg(grades: NDArray[Any], ranks: NDArray[Any], *, k: int = 10) -> NDArray[np.float64]:
    """(...) nDCG@k of one query's rankings, in [0, 1]: what `per_query` calls nDCG@k, where arrays are at hand.

    grades: (n,) of the documents that are relevant to the query, above 0. ranks: (..., n) where each ranking has them,
    from 1, infinite where it does not. Gains are grades, discounts log2(1 + rank), as in trec_eval (Järvelin and
    Kekäläinen, TOIS 2002). 0 where nothing is relevant.
    """
    if not len(grades):
        return np.zeros(np.shape(ranks)[:-1])
    best = np.sort(np.asarray(grades, np.float64))[::-1]
    return _dcg(grades, ranks, k) / _dcg(best, np.arange(1, len(best) + 1), k)


def _dcg(grades: NDArray[Any], ranks: NDArray[Any], k: int) -> NDArray[np.float64]:
    return np.where(ranks <= k, grades / np.log2(1.0 + ranks), 0.0).sum(axis=-1)


def _plain(record: Record) -> Record:
    """The same with ids that a library written in C can hold: pytrec_eval ends an id, or the process, at a NUL."""
    return record._replace(query_id=escaped(record.query_id), doc_id=escaped(record.doc_id))


def provider_of(measure: str) -> str:
    """The library that computes a measure, for the manifest: `pytrec_eval (pytrec_eval-terrier 0.5.11)`."""
    from importlib.metadata import version

    provider = _PROVIDERS[parsed(measure)[0]]
    package = "pytrec_eval-terrier" if provider == "pytrec_eval" else "ir_measures"
    return f"{provider} ({package} {version(package)})"


def ranks_as_scores(run: Sequence[ScoredDoc]) -> list[ScoredDoc]:
    """The run by query_id, best first, ties by doc_id, with -1, -2 ... for scores: no two of a query are equal."""
    for hit in run:
        if hit.score != hit.score:
            raise DataError(f"query {hit.query_id!r}: the score of doc {hit.doc_id!r} is not a number")
    ranked: list[ScoredDoc] = []
    seen: set[str] = set()
    rank = 0
    for hit in sorted(run, key=lambda hit: (hit.query_id, -hit.score, hit.doc_id)):
        if not ranked or ranked[-1].query_id != hit.query_id:
            rank, seen = 0, set()
        if hit.doc_id in seen:
            raise DataError(f"query {hit.query_id!r}: doc {hit.doc_id!r} is in the run twice")
        seen.add(hit.doc_id)
        rank += 1
        ranked.append(hit._replace(score=-float(rank)))
    return ranked


def nothing_relevant(qrels: Sequence[Qrel]) -> int:
    """How many judged queries count 0 for every system, because nothing is judged relevant for them."""
    return len({qrel.query_id for qrel in qrels} - {qrel.query_id for qrel in qrels if qrel.relevance > 0})


def parsed(measure: str) -> tuple[str, int]:
    """("nDCG", 10) of "nDCG@10". Ours, because ir_measures' parser fails on Python 3.14.

    Raises SettingError for what is no measure.
    """
    match = re.fullmatch(r"([A-Za-z]\w*)@([1-9][0-9]{0,5})", measure)
    if match is None:
        raise SettingError(
            f"{as_json(measure)} is not a measure; expected a name and a cutoff up to 999999, for example nDCG@10"
        )
    if match[1] not in _PROVIDERS:
        raise unknown("measure", match[1], _PROVIDERS)
    return match[1], int(match[2])


@cache
def _ir_measures() -> ModuleType:
    """ir_measures, without the log handler that it installs when imported."""
    import ir_measures

    ir_measures.logger.removeHandler(ir_measures.log_handler)
    ir_measures.logger.addHandler(logging.NullHandler())
    return ir_measures
