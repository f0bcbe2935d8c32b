"""Search this export in LanceDB: python search.py "a query". It needs acclimate and lancedb."""

from pathlib import Path
from typing import Any

import lancedb
import numpy as np

from acclimate.deploy.exports.client import Fusion, first_of_documents
from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import arguments, show


def searcher(folder):
    """A function (query, k) -> [(id, score, title, text)], best first."""
    database = lancedb.connect(folder / "database")
    documents, names = database.open_table("documents"), database.list_tables().tables
    side, fusion = QuerySide(folder / "query"), Fusion.open(folder)
    postings = {name: database.open_table(identifier(name)) for name in side.members if identifier(name) in names}

    def lexical(name, terms):
        """Number -> score of all documents that have a term of the query."""
        scores = {}
        if terms.ids:
            rows = postings[name].search().where(f"term in ({', '.join(map(str, terms.ids))})").limit(None).to_arrow()
            weight_of = dict(zip(terms.ids, terms.weights, strict=True))
            for term, number, weight in zip(*(rows[column].to_pylist() for column in rows.column_names), strict=True):
                scores[number] = scores.get(number, 0.0) + weight_of[term] * weight
        return scores

    def search(query, k=10):
        members: dict[str, Any] = side(query)
        all_scores = {name: lexical(name, members[name]) for name in postings}

        def named(name):
            if name in postings:
                hits = [hit for hit in all_scores[name].items() if hit[1] > 0]
            else:  # an index does not break ties: fetch more
                builder: Any = documents.search(members[name], vector_column_name=identifier(name))
                rows = builder.distance_type("dot").select(["number", "_distance"]).limit(2 * fusion.depth).to_arrow()
                hits = zip(rows["number"].to_pylist(), (-d for d in rows["_distance"].to_pylist()), strict=True)
            return [number for number, _ in sorted(hits, key=lambda hit: (-hit[1], hit[0]))][: fusion.depth]

        by_source = {name: named(name) for name in fusion.sources}
        candidates = sorted({number for numbers in by_source.values() for number in numbers})
        columns = ["number", "document", "title", "text"]
        for name in fusion.weights:
            part = members[name]
            columns += (
                []
                if name in postings
                else [identifier(name)]
                if part.ndim == 1
                else [f"{identifier(name)}_{end}" for end in ("tokens", "scales")]
            )
        rows = {}
        if candidates:
            among = f"number in ({', '.join(map(str, candidates))})"
            rows = {row["number"]: row for row in documents.search().where(among).select(columns).limit(None).to_list()}

        def scores_of(name, numbers):
            if name in postings:
                return np.array([all_scores[name].get(number, 0.0) for number in numbers.tolist()], np.float32)
            return np.array(
                [similarity(members[name], rows[number], identifier(name)) for number in numbers.tolist()], np.float32
            )

        ranked = fusion.ranked(by_source, scores_of)
        best = first_of_documents(ranked, {number: row["document"] for number, row in rows.items()}, k)
        return [
            (rows[number]["document"], score, rows[number]["title"], rows[number]["text"]) for number, score in best
        ]

    return search


def similarity(query, row, name):
    """Cosine similarity; for token vectors MaxSim, averaged over the query's tokens."""
    if query.ndim == 1:
        return float(np.asarray(row[name], np.float32) @ query)
    scales = np.frombuffer(row[f"{name}_scales"], "<f4")
    tokens = np.frombuffer(row[f"{name}_tokens"], np.int8).reshape(len(scales), -1).astype(np.float32)
    return float((tokens @ query.T * scales[:, None]).max(axis=0).mean())


if __name__ == "__main__":
    (query,) = arguments(__doc__, 1, 1)
    show(searcher(Path(__file__).parent)(query))
