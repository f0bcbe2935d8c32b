"""Load this export into Elasticsearch or OpenSearch, and search it there. It needs acclimate.

    python search.py http://localhost:9200              makes the index `acclimate`, which must not be there, and loads
    python search.py http://localhost:9200 "a query"    searches

A name and a password go into the address: https://name:password@host:9200.
"""

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from acclimate.base.text import counted
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import arguments, asking, show

INDEX = "acclimate"


def feature(word):
    """A word as a feature name, with dots escaped: neither engine accepts them."""
    return word.replace("%", "%25").replace(".", "%2E")


def ask(url, method, path, body, kind="application/json"):
    """Send a request and return the answer. Raises SystemExit with the engine's error, or the reason for no answer."""
    with asking(url, f"{method} {path}"):
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        address = f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}{path}"
        request = urllib.request.Request(address, body, {"content-type": kind}, method=method)
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            request.add_header("authorization", f"Basic {base64.b64encode(login).decode()}")
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)


def load(url, folder):
    """Create the index and fill it; returns its number of documents."""
    ask(url, "PUT", f"/{INDEX}", (folder / "mapping.json").read_bytes())
    if (pipeline := folder / "pipeline.json").exists():
        ask(url, "PUT", f"/_search/pipeline/{INDEX}", pipeline.read_bytes())
    for path in sorted((folder / "bulk").glob("bulk-*.ndjson")):
        answer = ask(url, "POST", f"/{INDEX}/_bulk", path.read_bytes(), "application/x-ndjson")
        if answer["errors"]:
            errors = [item["index"]["error"] for item in answer["items"] if "error" in item["index"]]
            refused = counted(len(errors), "document was", "documents were")
            raise SystemExit(f"{path.name}: {refused} refused; the first: {errors[0]}")
    ask(url, "POST", f"/{INDEX}/_refresh", None)
    return ask(url, "GET", f"/{INDEX}/_count", None)["count"]


def filled(template, values):
    """The query template with each {{NAME}} replaced by its value; a clause without terms finds nothing."""
    if isinstance(template, dict):
        leaves = [values.get(leaf) for leaf in _leaves(template)]
        if len(template) == 1 and {*template} & {"sparse_vector", "neural_sparse"} and {} in leaves:
            return {"match_none": {}}
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    return values.get(template, template) if isinstance(template, str) else template


def _leaves(template):
    values = template.values() if isinstance(template, dict) else template if isinstance(template, list) else ()
    return [template] if isinstance(template, str) else [leaf for value in values for leaf in _leaves(value)]


def request_of(folder, side, query, k=10):
    """The body of a search."""
    values: dict[str, Any] = {"{{k}}": k}
    for name, part in side(query).items():
        terms = hasattr(part, "terms")
        value = dict(zip(map(feature, part.terms), part.weights, strict=True)) if terms else part.tolist()
        values["{{" + name.replace(":", "_").replace("-", "_") + "}}"] = value
    return filled(json.loads((folder / "query.json").read_text(encoding="utf-8")), values)


def search(url, folder, query, k=10):
    """[(id, score, title, text)], best first."""
    body = json.dumps(request_of(folder, QuerySide(folder / "query"), query, k)).encode()
    pipeline = f"?search_pipeline={INDEX}" if (folder / "pipeline.json").exists() else ""
    hits = ask(url, "POST", f"/{INDEX}/_search{pipeline}", body)["hits"]["hits"]
    sources = [(hit["_source"], hit["_score"]) for hit in hits]
    return [(source["document"], score, source["title"], source["text"]) for source, score in sources]


if __name__ == "__main__":
    url, *queries = arguments(__doc__, 1, 2)
    here = Path(__file__).parent
    for query in queries:
        show(search(url, here, query))
    if not queries:
        print(counted(load(url, here), "document"))
