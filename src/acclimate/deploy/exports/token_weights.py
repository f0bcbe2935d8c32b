"""A sparse student in strings: what `sparse_vector` of Elasticsearch and `rank_features` of OpenSearch take.

Neither takes a dot within a token, so tokens have `%2E` in its place, and `%25` in that of a percent sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.base.files import write_json, write_jsonl
from acclimate.deploy.exports.source import Source

_ROWS_AT_ONCE = 4096


def token_strings(member: Any) -> list[str]:
    """Token id -> its string."""
    tokenizer = member.query.tokenizer
    count = len(member.query.weights)
    return [_escaped(token) for token in tokenizer.convert_ids_to_tokens(list(range(count)))]


def _escaped(token: str) -> str:
    return token.replace("%", "%25").replace(".", "%2E")


def write_query_weights(member: Any, folder: Path) -> None:
    """query_weights.json: token -> what it counts for in a query that has it; others count nothing."""
    strings = token_strings(member)
    weights = {strings[token]: float(member.query.weights[token]) for token in np.flatnonzero(member.query.weights)}
    write_json(folder / "query_weights.json", weights)


def write_documents(source: Source, member: Any, folder: Path) -> int:
    """documents.jsonl: an object a document, its id and its tokens with their weights; how many."""
    return write_jsonl(folder / "documents.jsonl", _rows(source, member))


def _rows(source: Source, member: Any) -> Iterator[dict[str, Any]]:
    strings, index = token_strings(member), member.index
    tokens = np.repeat(np.arange(len(index.starts) - 1, dtype=np.int32), np.diff(index.starts))
    order = np.argsort(index.documents, kind="stable")
    ends = np.searchsorted(index.documents[order], np.arange(index.n_docs + 1))
    for row, doc_id in enumerate(source.corpus.ids):
        places = order[ends[row] : ends[row + 1]]
        pairs = zip(tokens[places].tolist(), index.weights[places].tolist(), strict=True)
        yield {"_id": doc_id, "tokens": {strings[token]: round(weight, 6) for token, weight in pairs}}
