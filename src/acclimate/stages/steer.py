"""Build the queries and relevance grades that choices are made on, and that measure, if nobody labelled any.

A synthetic query asks for what one document says, so systems are punished for finding other good documents: systems
that match words or tokens win on such queries, and lose on real ones. Therefore documents near the source by both BM25
and the encoder get half its grade (`search.neighbors`). For choosing, documents that different retrievers agree on also
get a small grade: even without labels, agreement ranks systems much as people do (Soboroff, Nicholas and Cahan, SIGIR
2001). It does not count in the verdict, since it favors fusions of those retrievers.

A log of real queries shows how people ask here. Some of them are used for choosing, graded by agreement alone, and
synthetic queries are weighted by how much they resemble the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.base.domains import AtLeast
from acclimate.base.errors import DataError
from acclimate.base.files import read_jsonl, write_jsonl
from acclimate.base.progress import Progress
from acclimate.base.text import counted
from acclimate.base.words import length_of, query_key, words_of
from acclimate.corpus import judged_queries
from acclimate.corpus.judged_queries import EQUAL_WEIGHT_COUNT, LOG, NOTHING_JUDGED, SYNTHETIC, JudgedQueries
from acclimate.measure.importance import effective, importance_weights
from acclimate.records import Qrel, Query, SyntheticQuery
from acclimate.run.estimate import SEARCH_FLOP, Estimate
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import ENCODER
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked
from acclimate.search.candidates import Candidates, Find, reciprocal_ranks
from acclimate.search.members import Ids
from acclimate.search.neighbors import Neighbors
from acclimate.stages.filter import Filtered
from acclimate.stages.index import Indexed
from acclimate.stages.sample import Sampled

SOURCE, NEIGHBOR = 2, 1  # grades
_ENOUGH = 100  # judged queries that suffice to make choices on alone


class JudgedQuery(NamedTuple):
    """A query with graded documents (grades above 0), its weight, and the group it votes in."""

    query: Query
    grades: dict[str, int]
    weight: float = 1.0
    group: str = ""


class Steering(NamedTuple):
    """The queries to choose on, the queries to measure on, and the features of both kinds of queries."""

    choosing: list[JudgedQuery]
    measuring: list[JudgedQuery]
    seen: dict[str, dict[str, float]]  # synthetic, as_weighted, log -> feature -> mean


class QueryFeatures(NamedTuple):
    """Features of a query that need no labels."""

    shared: float  # share of its terms that the hybrid's first hit contains
    length: float  # log of that document's characters
    words: float  # log of the number of words


@checked
def steer(
    dev: Sequence[SyntheticQuery],
    test: Sequence[SyntheticQuery],
    log: Sequence[Query],
    find: Find,
    nearby: Neighbors,
    *,
    neighbors: Annotated[int, AtLeast(0)] = 20,
    agreement: Annotated[int, AtLeast(0)] = 20,
    log_queries: Annotated[int, AtLeast(0)] = 200,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Steering:
    """Assign relevance to the queries used for choices and, without labelled queries, for evaluation.

    dev, test: synthetic queries to choose on and to measure on. log: real queries to choose on. `find` returns
    candidates scored by BM25, dense retrieval and late interaction.

    Parameters
    ----------
    neighbors
        Also treat documents as relevant to a query if both BM25 and the encoder rank them among this many nearest to
        its source document; 0 counts only the source document.
    agreement
        For choices, documents that at least two of bm25, dense and late-interaction rank among their first ones, up to
        this rank, also count a little; 0 disables this.
    log_queries
        Maximum number of log queries used for choices; n of them get n / (n + 50) of the total weight. The others are
        used for training.
    """
    ids = nearby.ids
    rows = {query.query_id: ids.row[query.doc_id] for query in (*dev, *test)}
    graded: dict[str, dict[str, int]] = {}
    for done, (query_id, row) in enumerate(rows.items(), 1):
        around = nearby.of(row, neighbors) if neighbors else []
        graded[query_id] = {_document(ids, neighbor): NEIGHBOR for neighbor in around} | {_document(ids, row): SOURCE}
        progress(done, len(rows) + len(log))

    asked = [query.as_query() for query in dev]
    synthetic = list(find(asked, [rows[query.query_id] for query in dev]))
    logged = list(find(log, ()))
    progress(len(rows) + len(log), len(rows) + len(log))
    features = [_features(candidates, nearby) for candidates in synthetic]
    log_features = [_features(candidates, nearby) for candidates in logged]
    weights = importance_weights(np.array(features).reshape(-1, 3), np.array(log_features).reshape(-1, 3))
    agreed = [(candidates.query, _agreement_grades(candidates, ids, agreement)) for candidates in logged]
    agreed = [(query, grades) for query, grades in agreed if grades]
    share = len(agreed) / (len(agreed) + EQUAL_WEIGHT_COUNT)  # weight of the log's queries
    overlaps = [_shared_terms(query.text, ids.row[query.doc_id], nearby) for query in dev]
    middle = float(np.median(overlaps)) if overlaps else 0.0
    choosing = [
        JudgedQuery(
            candidates.query,
            _combined(graded[candidates.query.query_id], _agreement_grades(candidates, ids, agreement)),
            round(float(weight) * (1 - share), 8),
            "shares few words" if overlap < middle else "shares many words",
        )
        for candidates, weight, overlap in zip(synthetic, weights, overlaps, strict=True)
    ]
    choosing += [JudgedQuery(query, grades, round(share / len(agreed), 8), LOG) for query, grades in agreed]
    seen = {"synthetic": _mean_features(features)} if features else {}
    if features and log_features:
        seen |= {"as_weighted": _mean_features(features, weights)}
    if log_features:
        seen |= {LOG: _mean_features(log_features)}
    return Steering(choosing, [JudgedQuery(query.as_query(), graded[query.query_id]) for query in test], seen)


def _document(ids: Ids, row: int) -> str:
    """The document id of a row: of a passage, its parent's."""
    return ids.parents.get(ids.doc_ids[row], ids.doc_ids[row])


def _agreement_grades(candidates: Candidates, ids: Ids, depth: int) -> dict[str, int]:
    """doc_id -> number of retrievers with it among their first `depth`, less one, if positive."""
    counts: Counter[str] = Counter()
    for name, scores in candidates.scores.items() if depth else ():
        first = dict.fromkeys(
            _document(ids, int(candidates.rows[place]))
            for place in ids.order(scores, candidates.rows)
            if name != "bm25" or scores[place] > 0
        )
        counts.update([*first][:depth])
    return {doc_id: count - 1 for doc_id, count in sorted(counts.items()) if count > 1}


def _combined(grades: Mapping[str, int], agreed: Mapping[str, int]) -> dict[str, int]:
    """The sum of both grades, scaled so that neighbors weigh as much as full agreement."""
    weighed = {doc_id: SOURCE * grade for doc_id, grade in grades.items()}
    return {doc_id: weighed.get(doc_id, 0) + agreed.get(doc_id, 0) for doc_id in sorted({*weighed, *agreed})}


def _features(candidates: Candidates, nearby: Neighbors) -> QueryFeatures:
    """Features of a query, from its candidates; shared and length are 0 if there are none."""
    text, ids = candidates.query.text, nearby.ids
    n_words = float(np.log1p(len(words_of(text))))
    if not len(candidates.rows):
        return QueryFeatures(0.0, 0.0, n_words)
    first = int(candidates.rows[ids.order(reciprocal_ranks(candidates), candidates.rows)[0]])
    length = length_of(nearby.corpus[ids.doc_ids[first]].default_text())
    return QueryFeatures(_shared_terms(text, first, nearby), float(np.log1p(length)), n_words)


def _shared_terms(text: str, row: int, nearby: Neighbors) -> float:
    """The share of a query's terms that a document contains."""
    analyzer = nearby.bm25.analyzer
    terms = {*analyzer(text)}
    return len(terms & {*analyzer(nearby.corpus[nearby.ids.doc_ids[row]].default_text())}) / max(1, len(terms))


def _mean_features(features: Sequence[QueryFeatures], weights: np.ndarray[Any, Any] | None = None) -> dict[str, float]:
    """Mean features in natural units: share, characters, words (the last two as geometric means)."""
    weights = np.ones(len(features)) if weights is None else weights
    shared, length, words = np.average(np.array(features), axis=0, weights=weights)
    return {
        "shared_words": round(float(shared), 3),
        "first_hit_characters": round(float(np.expm1(length))),
        "words": round(float(np.expm1(words)), 1),
        "effective_queries": round(effective(weights)),
    }


class Steered(StageOutput):
    """The queries that choices are made on, and those that measure."""

    stage = "steer"

    def choosing(self, run: Run, sampled: Sampled) -> JudgedQueries:
        """The queries to choose on: labelled dev queries if there are enough, else synthetic, log and labelled ones."""
        labelled = self._labelled(run, sampled, run.input.labels.choosing)
        if labelled is not None and _is_enough(run.input.labels.choosing):
            return labelled
        built = self._read("choosing")
        return built.combined_with(labelled) if labelled and labelled.queries else built

    def measuring(self, run: Run, sampled: Sampled) -> JudgedQueries:
        """The queries to measure on: labelled ones, else synthetic ones of the test split."""
        return self._labelled(run, sampled, run.input.labels.measuring) or self._read("measuring")

    @cached_property
    def logged(self) -> list[str]:
        """Texts of the log queries that are used for choosing, and so not for training."""
        return [row["text"] for _, row in read_jsonl(self.folder / "choosing.jsonl") if row["group"] == LOG]

    def _labelled(self, run: Run, sampled: Sampled, labelled: JudgedQueries) -> JudgedQueries | None:
        return judged_queries.not_shown(labelled, sampled.shown, run.input.documents) if labelled.queries else None

    def _read(self, name: str) -> JudgedQueries:
        rows = [row for _, row in read_jsonl(self.folder / f"{name}.jsonl")]
        return JudgedQueries(
            SYNTHETIC,
            [Query(row["query_id"], row["text"]) for row in rows],
            [Qrel(row["query_id"], doc_id, grade) for row in rows for doc_id, grade in row["grades"].items()],
            weights={row["query_id"]: row["weight"] for row in rows},
            groups={row["query_id"]: row["group"] for row in rows},
        )


def n_log_choosing(run: Run) -> int:
    """Number of log queries used for choosing; those shown in prompts are drawn first and not used."""
    n_left = len(run.input.unjudged_log) - run.settings["generate"]["log_examples"]
    return 0 if _is_enough(run.input.labels.choosing) else max(0, min(run.settings["steer"]["log_queries"], n_left))


def n_choosing(run: Run, n_queries: float) -> float:
    """Approximate number of queries that choices are made on, given `n_queries` synthetic ones."""
    labelled = run.input.labels.choosing
    n_synthetic = 0.0 if _is_enough(labelled) else run.settings["sample"]["dev_share"] * n_queries
    return len(labelled.queries) + n_log_choosing(run) + n_synthetic


def estimate(run: Run, n_queries: float) -> Estimate:
    """Cost of finding the neighbors of documents, and of searching for log queries."""
    return Estimate(SEARCH_FLOP * (n_choosing(run, n_queries) + run.input.labels.test_share * n_queries))


def make(run: Run, indexed: Indexed, sampled: Sampled, filtered: Filtered) -> Steered:
    """Build the queries and grades that choices are made on."""
    settings, labels = run.settings["steer"], run.input.labels
    used = {"choose": labels.choosing if _is_enough(labels.choosing) else NOTHING_JUDGED, "measure": labels.measuring}
    for use, labelled in used.items():
        if labelled.queries and all(query_key(query.text) in sampled.shown for query in labelled.queries):
            raise DataError(
                f"prompts show all {counted(len(labelled.queries), 'query')} of the {labelled.split} split, so none is "
                f"left to {use} on; show fewer (sample.n_examples), or others (sample.examples)"
            )
    n_shown = run.settings["generate"]["log_examples"]
    drawn = run.input.unjudged_log.draw(n_shown + n_log_choosing(run), run.seed)[n_shown:]
    log = sorted(query.as_query() for query in drawn)

    def work(folder: Path, progress: Progress) -> Account:
        sides = filtered.sides(sampled)
        dev = [] if _is_enough(labels.choosing) else sides["dev"]
        test = [] if labels.measuring.queries else sides["test"]
        nearby = Neighbors(run.base.ids, run.input.corpus, run.base.bm25, run.base.vectors)
        with run.candidates(indexed) as kept:
            result = steer(dev, test, log, kept.candidates, nearby, progress=progress, **settings)
        write_jsonl(folder / "choosing.jsonl", map(_row, result.choosing))
        write_jsonl(folder / "measuring.jsonl", map(_row, result.measuring))
        n_read = len(dev) + len(test) + len(log)
        n_kept = len(result.choosing) + len(result.measuring)
        dropped = {"nothing agreed on": n_read - n_kept} if n_read > n_kept else {}
        return Account(n_read, n_kept, dropped, notes={"seen": result.seen})

    inputs = {
        **{output.name: output.fingerprint for output in (sampled, filtered, indexed)},
        **run.read(*ENCODER),
        DOCUMENTS: run.input.corpus.fingerprint,
        "labelled": f"{_is_enough(labels.choosing)}, {len(labels.measuring.queries) > 0}",
        **({"log": fingerprint(log)} if log else {}),
    }
    return run.make(Steered, work, inputs=inputs, unit="queries")


def _is_enough(labelled: JudgedQueries) -> bool:
    """True if there are enough labelled queries to make choices on these alone."""
    return len(labelled.queries) >= _ENOUGH


def _row(query: JudgedQuery) -> dict[str, Any]:
    """The query as a line of JSON."""
    query_id, text = query.query
    return {"query_id": query_id, "text": text, "weight": query.weight, "group": query.group, "grades": query.grades}
