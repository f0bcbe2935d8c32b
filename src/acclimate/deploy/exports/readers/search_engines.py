"""Load this export into Elasticsearch or OpenSearch, and search it there. It needs acclimate.

    python search.py http://localhost:9200              makes the index `acclimate`, which must not be there, and loads
    python search.py http://localhost:9200 "a query"    searches

A name and a password go into the address: https://name:password@host:9200.
"""

import base64
import hashlib
import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from acclimate.base.text import counted
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import Refused, arguments, asking, cause_of, show

INDEX = "acclimate"
_MOST_TERMS = 1000  # of all members of a query: both engines refuse more than 1,024 clauses, by default
_MOST_WEIGHT = 64  # of a term of a query: OpenSearch refuses more
_LONGEST = 5000  # characters of a feature name: Lucene refuses more than 32,766 bytes
_BULK_BYTES = 8 << 20  # of a request: some services refuse more than 10 MB, the engines more than 100 MB


def feature(word):
    """A word as a feature name, which both engines accept: dots are escaped, and a long word is a digest."""
    if len(word) > _LONGEST:
        return f"%{hashlib.sha256(word.encode()).hexdigest()}"
    return word.replace("%", "%25").replace(".", "%2E")


def ask(url, method, path, body, kind="application/json"):
    """Send a request and return the answer. Raises SystemExit with the engine's error, or the reason for no answer."""
    with asking(url, f"{method} {path}"):
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        address = f"{parts.scheme}://{host}{parts.path.rstrip('/')}{path}"
        request = urllib.request.Request(address, body, {"content-type": kind}, method=method)
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            request.add_header("authorization", f"Basic {base64.b64encode(login).decode()}")
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)


def _without_login(url):
    scheme, _, rest = url.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/")


def load(url, folder):
    """Create the index and fill it; returns its number of documents."""
    removal = f"curl -X DELETE {_without_login(url)}/{INDEX}"
    try:
        if (pipeline := folder / "pipeline.json").exists():
            ask(url, "PUT", f"/_search/pipeline/{INDEX}", pipeline.read_bytes())
        ask(url, "PUT", f"/{INDEX}", (folder / "mapping.json").read_bytes())
    except Refused as error:
        if error.status != 400:  # a login, or a full disk
            raise
        if "already_exists" in str(error):
            raise SystemExit(f"{error}; to remove it: {removal}") from None
        raise SystemExit(f"{error}; expected {_needs(folder)}") from None
    for path in sorted((folder / "bulk").glob("bulk-*.ndjson")):
        for lines in _requests(path):
            answer = ask(url, "POST", f"/{INDEX}/_bulk", lines, "application/x-ndjson")
            if answer["errors"]:
                errors = [item["index"]["error"] for item in answer["items"] if "error" in item["index"]]
                refused = counted(len(errors), "document was", "documents were")
                cause = cause_of(errors[0])
                raise SystemExit(f"{path.name}: {refused} refused: {cause}; before loading again: {removal}")
    ask(url, "POST", f"/{INDEX}/_refresh", None)
    return ask(url, "GET", f"/{INDEX}/_count", None)["count"]


def _needs(folder):
    """The version and the plugins that an export needs."""
    return json.loads((folder / "mapping.json").read_text(encoding="utf-8"))["mappings"]["_meta"]["needs"]


def _requests(path):
    """A bulk file in bodies of requests."""
    lines, size = [], 0
    with path.open("rb") as file:
        for action in file:
            lines += action, next(file)
            size += len(lines[-1])
            if size > _BULK_BYTES:
                yield b"".join(lines)
                lines, size = [], 0
    if lines:
        yield b"".join(lines)


def filled(template, values):
    """The query template with each {{NAME}} replaced by its value.

    A clause without terms, or with the zero vector of a text without known words, finds nothing, as in the run.
    """
    if isinstance(template, dict):
        nothing = _nothing(template) if len(template) == 1 else None
        if nothing and any(_is_empty(values[leaf]) for leaf in _leaves(template) if leaf in values):
            return nothing
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    return values.get(template, template) if isinstance(template, str) else template


def _nothing(template):
    """What finds nothing in place of a clause; None for anything but a clause with a member's query."""
    ((name, content),) = template.items()
    if name not in ("sparse_vector", "neural_sparse", "knn"):
        return None
    query = {"match_none": {}}
    return {"standard": {"query": query}} if name == "knn" and "query_vector" in content else query


def _is_empty(value):
    return not any(value) if isinstance(value, list) else value == {}


def _leaves(template):
    values = template.values() if isinstance(template, dict) else template if isinstance(template, list) else ()
    return [template] if isinstance(template, str) else [leaf for value in values for leaf in _leaves(value)]


def _features(terms, weights, most):
    """The `most` heaviest terms of a query as features; weights are scaled together, which ranks the same."""
    heaviest = sorted(zip(terms, weights, strict=True), key=lambda term: -term[1])[:most]
    scale = max([1, *(weight / _MOST_WEIGHT for _, weight in heaviest)])
    return {feature(term): weight / scale for term, weight in heaviest}


def request_of(folder, side, query, k=10):
    """The body of a search."""
    values: dict[str, Any] = {"{{k}}": k}
    members = side(query)
    n_lexical = sum(hasattr(part, "terms") for part in members.values())
    for name, part in members.items():
        is_lexical = hasattr(part, "terms")
        value = _features(part.terms, part.weights, _MOST_TERMS // n_lexical) if is_lexical else part.tolist()
        values["{{" + identifier(name) + "}}"] = value
    return filled(json.loads((folder / "query.json").read_text(encoding="utf-8")), values)


def search(url, folder, query, k=10):
    """[(id, score, title, text)], best first; of each document its best passage."""
    body = json.dumps(request_of(folder, QuerySide(folder / "query"), query, k)).encode()
    pipeline = f"?search_pipeline={INDEX}" if (folder / "pipeline.json").exists() else ""
    try:
        hits = ask(url, "POST", f"/{INDEX}/_search{pipeline}", body)["hits"]["hits"]
    except Refused as error:
        if error.status == 404 or "is not defined" in str(error):  # the index or the pipeline
            raise SystemExit(f"{error}; load it first: python search.py {_without_login(url)}") from None
        if "pars" in str(error):  # a parsing exception
            raise SystemExit(f"{error}; expected {_needs(folder)}") from None
        if "license" in str(error):
            raise SystemExit(f"{error}; the systems bm25 and dense need none: export with --system bm25") from None
        raise
    best = {}
    for source, score in ((hit["_source"], hit["_score"]) for hit in hits):
        best.setdefault(source["document"], (source["document"], score, source["title"], source["text"]))
    return list(best.values())[:k]


if __name__ == "__main__":
    url, *queries = arguments(__doc__, 1, 2)
    here = Path(__file__).parent
    for query in queries:
        show(search(url, here, query))
    if not queries:
        print(counted(load(url, here), "document"))
