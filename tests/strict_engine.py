"""A server that refuses, with the same messages, what OpenSearch 2.19 was seen to refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

MOST_BYTES = 32766  # of a term in Lucene


class Engine:
    """Keeps what it is sent, and refuses what an engine refuses."""

    def __init__(self, plugins: tuple[str, ...], hits: list[dict[str, Any]]) -> None:
        self.plugins, self.hits = plugins, hits
        self.requests: list[tuple[str, str, str]] = []
        self.mapping: dict[str, Any] | None = None
        self.rows: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, body: str) -> tuple[int, Any]:
        self.requests.append((method, path, body))
        path = path.partition("?")[0]
        if path.startswith("/_search/pipeline"):
            return (200, {}) if "neural-search" in self.plugins else error(400, "Invalid processor type x")
        if method == "PUT":
            if self.mapping is not None:
                return error(400, "index [acclimate/x] already exists", "resource_already_exists_exception")
            if "k-NN" not in self.plugins:
                return error(400, "unknown setting [index.knn]", "settings_exception")
            self.mapping = json.loads(body)["mappings"]["properties"]
            return 200, {}
        if self.mapping is None:
            return error(404, "no such index [acclimate]", "index_not_found_exception")
        if path.endswith("_bulk"):
            return self._bulk(body)
        if path.endswith("_search"):
            reason = refusal(json.loads(body))
            return error(400, f"failed to create query: {reason}") if reason else (200, {"hits": {"hits": self.hits}})
        return 200, {"count": len(self.rows)}

    def _bulk(self, body: str) -> tuple[int, Any]:
        items = []
        assert self.mapping is not None
        for line in body.rstrip("\n").split("\n")[1::2]:
            row = json.loads(line)
            self.rows.append(row)
            reasons = [reason for name, value in row.items() if (reason := unfit(self.mapping[name], value))]
            cause = {"type": "illegal_argument_exception", "reason": reasons[0]} if reasons else None
            failed = {"type": "mapper_parsing_exception", "reason": "failed to parse", "caused_by": cause}
            items.append({"index": {"error": failed} if reasons else {}})
        return 200, {"errors": any(item["index"] for item in items), "items": items}


def error(status: int, reason: str, kind: str = "illegal_argument_exception") -> tuple[int, Any]:
    cause = {"type": kind, "reason": reason}
    return status, {"error": {"root_cause": [cause], "type": "outer", "reason": "all shards failed"}, "status": status}


def unfit(field: dict[str, Any], value: Any) -> str | None:
    """Why a value is refused."""
    if field["type"] == "keyword" and len(value) <= field.get("ignore_above", len(value)):
        return "Document contains at least one immense term" if len(value.encode()) > MOST_BYTES else None
    if field["type"] == "dense_vector":
        is_unit = abs(sum(part * part for part in value) - 1) <= 1e-4
        return None if is_unit else "The [dot_product] similarity can only be used with unit-length vectors"
    if field["type"] in ("rank_features", "sparse_vector"):
        for name, weight in value.items():
            if "." in name:
                return "fields do not support dots in feature names"
            if len(name.encode()) > MOST_BYTES:
                return "Document contains at least one immense term"
            if weight < 1.1754944e-38:
                return "featureValue must be a positive normal float"
    return None


def refusal(query: Any) -> str | None:
    """Why a query is refused."""
    weights = list(weights_in(query))
    if len(weights) > 1024:
        return "maxClauseCount is set to 1024"
    bad = [weight for weight in weights if not 0 < weight <= 64]
    return f"weight must be in (0, 64.0], got: {bad[0]}" if bad else None


def weights_in(query: Any) -> Any:
    for name, value in (
        query.items() if isinstance(query, dict) else enumerate(query) if isinstance(query, list) else ()
    ):
        if isinstance(value, dict) and name in ("query_tokens", "query_vector"):
            yield from value.values()
        else:
            yield from weights_in(value)


def hit(document: str, score: float = 0.5) -> dict[str, Any]:
    return {"_score": score, "_source": {"document": document, "title": "t", "text": "x"}}


@contextmanager
def served(
    *, plugins: tuple[str, ...] = ("k-NN", "neural-search"), hits: Any = (("d", 0.5),)
) -> Iterator[tuple[str, Engine]]:
    """The address of an engine, and the engine."""
    engine = Engine(plugins, [hit(*found) for found in hits])

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            status, content = engine.answer(self.command, self.path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_PUT = do_POST = do_GET = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://me:secret@127.0.0.1:{server.server_port}", engine
    server.shutdown()
