"""Search this export in Vespa: python search.py http://localhost:8080 "a query". It needs acclimate.

Before, in this folder: vespa deploy application && vespa feed feed/*.jsonl
"""

import json
import urllib.request
from pathlib import Path

from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import arguments, asking, show

WHOLE = 10_000  # factor of weights in `wand`, which takes integers


def request_of(folder, side, query, k=10):
    """The body of a search; None if no source has a term or vector for the query."""
    template = json.loads((folder / "query.json").read_text(encoding="utf-8"))
    operators, inputs = [], {}
    for member, part in side(query).items():
        name = identifier(member)
        operator = template["sources"].get(name)
        if hasattr(part, "ids"):
            inputs[f"input.query({name})"] = literal(zip(part.ids, part.weights, strict=True))
            pairs = [[term, round(WHOLE * weight)] for term, weight in zip(part.ids, part.weights, strict=True)]
            operator = operator and part.ids and operator.replace("{{terms}}", json.dumps(pairs))
        elif part.ndim == 1:
            inputs[f"input.query({name})"] = json.dumps(part.tolist())
        else:
            inputs[f"input.query({name})"] = literal(enumerate(part.tolist()))
        operators += [operator] if operator else []
    if not operators:
        return None
    yql = f"{template['select']} {' or '.join(operators)}"
    return {"yql": yql, "hits": template["hits"] or k, **template["body"], **inputs}


def literal(cells):
    """A tensor with a mapped dimension, as Vespa writes it: {"17": 1.0}, or {"0": [0.1, 0.2]}."""
    return json.dumps({str(label): value for label, value in cells})


def first_of_documents(hits, k):
    """[(id, score, title, text)] of the best passage of each of the k best documents, ties by number."""
    best = {}
    for hit in sorted(hits, key=lambda hit: (-hit["relevance"], hit["fields"]["number"])):
        best.setdefault(hit["fields"]["document_id"], hit)
    rows = ((hit["fields"], hit["relevance"]) for hit in list(best.values())[:k])
    return [(row["document_id"], score, row.get("title", ""), row.get("text", "")) for row, score in rows]


def search(url, folder, query, k=10):
    """[(id, score, title, text)], best first. Raises SystemExit with Vespa's error message."""
    body = request_of(folder, QuerySide(folder / "query"), query, k)
    if body is None:
        return []
    with asking(url, "search"):
        request = urllib.request.Request(
            f"{url.rstrip('/')}/search/", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return first_of_documents(json.load(answer)["root"].get("children", []), k)


if __name__ == "__main__":
    url, query = arguments(__doc__, 2, 2)
    show(search(url, Path(__file__).parent, query))
