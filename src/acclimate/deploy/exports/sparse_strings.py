"""A sparse student in strings: what `sparse_vector` of Elasticsearch and `rank_features` of OpenSearch take.

Neither takes a dot within a token, so tokens have `%2E` in its place, and `%25` in that of a percent sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.base.files import write_json, write_jsonl
from acclimate.deploy.exports.postings import by_document, postings_of, rounded, terms_of
from acclimate.deploy.exports.readers.search_engines import feature
from acclimate.deploy.exports.source import Source
from acclimate.search.members import SparseMember


def token_strings(member: SparseMember) -> list[str]:
    """Token id -> its string."""
    return list(map(feature, terms_of(member)))


def write_query_weights(member: SparseMember, folder: Path) -> None:
    """query_weights.json: token -> what it counts for in a query that has it; others count nothing."""
    strings = token_strings(member)
    weights = {strings[token]: float(member.query.weights[token]) for token in np.flatnonzero(member.query.weights)}
    write_json(folder / "query_weights.json", weights)


def write_documents(source: Source, member: SparseMember, folder: Path) -> int:
    """documents.jsonl: an object a document, its id and its tokens with their weights; how many."""
    return write_jsonl(folder / "documents.jsonl", _rows(source, member, folder))


def _rows(source: Source, member: SparseMember, folder: Path) -> Iterator[dict[str, Any]]:
    strings = token_strings(member)
    with by_document(postings_of(member), len(source.corpus), folder) as rows:
        for row, doc_id in enumerate(source.corpus.ids):
            _, terms, weights = rows.of(slice(row, row + 1))
            tokens = (strings[term] for term in terms)
            yield {"_id": doc_id, "tokens": dict(zip(tokens, rounded(weights), strict=True))}
