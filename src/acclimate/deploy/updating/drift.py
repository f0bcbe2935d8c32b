"""Drift: whether new documents differ so much from those the run was made from that adapting again may pay.

Three figures, each compared with the run's own documents and queries rather than with a chosen threshold:

- the share of a document's words that no document of the run had: the median over new documents, against the run's own
  documents, each against all others (a word in no other document is new in this one);
- the distance (1 - cosine of dense vectors) to the nearest document that queries were written for: the median over new
  documents, against those of the run, each without itself;
- the cosine of the best document for each query that measured the run: its mean now, against that before.

The first two suggest adapting again if the median of new documents lies above the 95th percentile of the run's
documents; the third if the mean fell by more than its standard error over queries, the smallest change that measuring
again could notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.base.draw import subset
from acclimate.run.run import Run
from acclimate.search.term_counts import TermCounts
from acclimate.stages.chain import Outputs

_MOST = 2000  # documents compared, and documents they are compared with
_MOST_QUERIES = 200
_QUANTILE = 0.95


def drift(
    before: Run, outputs: Outputs, now: Run, came: Sequence[str], counts: TermCounts, *, only_more: bool
) -> dict[str, Any]:
    """The figures by name, each with `came` (or `now`), `before`, and the `limit` beyond which it suggests adapting.

    came: ids of documents or passages that are new or changed since the stages were made. counts: term counts of
    everything searched now, followed by those of removed documents and of changed ones as they were.
    only_more: nothing changed or was removed, so the best scores cannot have fallen.
    """
    figures: dict[str, Any] = {}
    if came:
        rows = np.array([now.base.ids.row[doc_id] for doc_id in came], np.int64)
        figures["new_words"] = _figure(*_new_words(counts, rows))
        if figure := _distances(before, outputs, now, rows):
            figures["distance"] = _figure(*figure)
    if not only_more and (figure := _top_scores(before, outputs, now)):
        figures["top_scores"] = figure
    return figures


def sentences(figures: Mapping[str, Any]) -> list[str]:
    """A sentence on the figures that suggest adapting again, if any do."""
    reasons: list[str] = []
    if (words := figures.get("new_words")) and words["came"] > words["limit"]:
        reasons.append(
            f"{words['came']:.1%} of the words of new documents occur in no old one "
            f"({words['before']:.1%} is usual, {words['limit']:.1%} or more in one of twenty)"
        )
    if (far := figures.get("distance")) and far["came"] > far["limit"]:
        reasons.append(
            f"new documents are at a distance of {far['came']:.3f} from those that queries were written for "
            f"({far['before']:.3f} is usual, {far['limit']:.3f} or more in one of twenty)"
        )
    if (top := figures.get("top_scores")) and top["now"] < top["limit"]:
        reasons.append(
            f"the top documents of the evaluation queries are less similar: a mean cosine of {top['now']:.3f}, "
            f"{top['before']:.3f} before (standard error {top['before'] - top['limit']:.3f})"
        )
    return [f"Drift: {'; '.join(reasons)}. Consider adapting to the current documents."] if reasons else []


def _figure(came: NDArray[np.floating], before: NDArray[np.floating]) -> dict[str, float]:
    return {
        "came": round(float(np.median(came)), 6),
        "before": round(float(np.median(before)), 6),
        "limit": round(float(np.quantile(before, _QUANTILE)), 6),
        "documents": len(came),
    }


def _new_words(counts: TermCounts, came: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The share of new words in each new document, and in each old one."""
    n_docs = len(counts.ends) - 1
    rows = np.repeat(np.arange(n_docs), np.diff(counts.ends))
    is_old = np.ones(n_docs, bool)
    is_old[came] = False
    holders = np.bincount(counts.terms[is_old[rows]], minlength=len(counts.vocabulary))[counts.terms]
    is_new = holders <= is_old[rows]  # in no other old document
    shares = np.bincount(rows, weights=counts.counts * is_new, minlength=n_docs)
    shares /= np.maximum(np.bincount(rows, weights=counts.counts, minlength=n_docs), 1)
    old = shares[is_old]
    return shares[came], old if len(old) else np.zeros(1)


def _distances(
    before: Run, outputs: Outputs, now: Run, came: NDArray[np.int64]
) -> tuple[NDArray[np.floating], NDArray[np.floating]] | None:
    """(of new documents, of old ones): distance to the nearest document that queries were written for."""
    ids = before.base.ids
    written_for = sorted({query.doc_id for query in outputs["filter"].queries if query.doc_id in ids.row})
    sampled = np.array([ids.row[doc_id] for doc_id in written_for[:: max(1, len(written_for) // _MOST)]], np.int64)
    if len(sampled) < 2:
        return None
    old_rows = np.arange(len(ids))[:: max(1, len(ids) // _MOST)]
    vectors = before.base.vectors.pooled
    targets = np.asarray(vectors[sampled])
    old = np.asarray(vectors[old_rows]) @ targets.T
    old[old_rows[:, None] == sampled[None, :]] = -1  # itself
    new_rows = came[:: max(1, len(came) // _MOST)]
    new = np.asarray(now.base.vectors.pooled[new_rows]) @ targets.T
    return 1 - new.max(axis=1), 1 - old.max(axis=1)


def _top_scores(before: Run, outputs: Outputs, now: Run) -> dict[str, Any] | None:
    queries = outputs["steer"].measuring(before, outputs["sample"]).queries if "steer" in outputs else []
    queries = subset(queries, _MOST_QUERIES, before.seed)
    if len(queries) < 2:
        return None
    encoder = before.base.query_encoder
    vectors = np.stack([encoded.pooled for encoded in encoder.encode([query.text for query in queries])])
    was, is_now = (run.base.vectors.dense_scores(vectors).max(axis=1) for run in (before, now))
    limit = float(was.mean()) - float(was.std(ddof=1)) / len(queries) ** 0.5
    means = {"before": float(was.mean()), "now": float(is_now.mean()), "limit": limit}
    return {"queries": len(queries)} | {name: round(value, 6) for name, value in means.items()}
