"""A sparse student with tokens as strings, for Elasticsearch's `sparse_vector` and OpenSearch's `rank_features`.

Neither takes a dot in a token: it is written as `%2E`, and a percent sign as `%25`.
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
    """Write query_weights.json: the weight of each token in a query; others have none."""
    strings = token_strings(member)
    weights = {strings[token]: float(member.query.weights[token]) for token in np.flatnonzero(member.query.weights)}
    write_json(folder / "query_weights.json", weights)


def write_documents(source: Source, member: SparseMember, folder: Path) -> int:
    """Write documents.jsonl: the id and the weighted tokens of each document. Returns the number of documents."""
    return write_jsonl(folder / "documents.jsonl", _rows(source, member, folder))


def _rows(source: Source, member: SparseMember, folder: Path) -> Iterator[dict[str, Any]]:
    strings = token_strings(member)
    with by_document(postings_of(member), len(source.corpus), folder) as rows:
        for row, doc_id in enumerate(source.corpus.ids):
            _, terms, weights = rows.of(slice(row, row + 1))
            tokens = (strings[term] for term in terms)
            yield {"_id": doc_id, "tokens": dict(zip(tokens, rounded(weights), strict=True))}
