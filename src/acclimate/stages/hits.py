"""The hits that negatives are drawn from: found by one of the run's retrievers, or read from a TREC run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from acclimate.base.errors import DataError, unknown
from acclimate.base.files import is_file
from acclimate.base.text import counted
from acclimate.corpus.formats import read_run
from acclimate.records import Doc, ScoredDoc, SyntheticQuery
from acclimate.run.output import StageOutput
from acclimate.run.retrievers import RETRIEVERS, SHARED_DEPTH, sources_of
from acclimate.run.run import Run
from acclimate.search import candidates


def hits_file(retriever: str) -> Path | None:
    """The TREC run that `mine.retriever` names; None if it names a retriever. Raises SettingError if it is neither."""
    if retriever in RETRIEVERS:
        return None
    if not is_file(retriever):
        raise unknown("mine.retriever (or TREC run)", retriever, RETRIEVERS)
    return Path(retriever)


def query_ids_in(path: Path, corpus: Mapping[str, Doc]) -> set[str]:
    """The query ids in a TREC run. Raises DataError for a document that is not in the corpus."""
    query_ids: set[str] = set()
    lines = read_run(path)
    for query_id, doc_id, _ in lines:
        if doc_id not in corpus:
            assert lines.place
            raise lines.place.error(
                f"{doc_id!r} is not a document of this collection; expected a run over what is indexed here, "
                "documents or, with index.passage_words, passages of them"
            )
        query_ids.add(query_id)
    return query_ids


def read_hits(path: Path) -> Iterator[ScoredDoc]:
    """The hits of a TREC run, query by query, best first, ties by id; the ranks in the file are ignored."""
    for _, hits in groupby(read_run(path), key=lambda hit: hit.query_id):
        yield from sorted(hits, key=lambda hit: (-hit.score, hit.doc_id))


def queries_with_hits(queries: Sequence[SyntheticQuery], path: Path, corpus: Mapping[str, Doc]) -> list[SyntheticQuery]:
    """The queries that the TREC run has hits for. Raises DataError if it has none of them."""
    query_ids = query_ids_in(path, corpus)
    known = [query for query in queries if query.query_id in query_ids]
    if queries and not known:
        raise DataError(
            f"has none of the {counted(len(queries), 'query')} that are left after the filters; expected the query "
            f"ids of filter/queries.jsonl, such as {queries[0].query_id!r}",
            path=path,
        )
    return known


def search_hits(
    queries: Sequence[SyntheticQuery],
    run: Run,
    indexed: StageOutput,
    retriever: str,
    depth: int,
    progress: Callable[[int, int], None],
) -> Iterator[ScoredDoc]:
    """The first `depth` hits of each query by one of the run's retrievers, and its source document with its score."""
    weights, ids = RETRIEVERS[retriever], run.base.ids
    sources, rows = sources_of(weights), [ids.row[query.doc_id] for query in queries]
    depth = max(SHARED_DEPTH, depth)
    with run.candidates(indexed, depth, weights) as kept:
        lists = kept.candidates([query.as_query() for query in queries], rows, progress)
        named = (pool.named_by(sources, row) for pool, row in zip(lists, rows, strict=True))
        yield from candidates.hits(named, ids, weights, depth, rows)
