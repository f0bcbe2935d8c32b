"""Load this export into Qdrant, and search it there. It needs acclimate and qdrant-client.

python search.py http://localhost:6333              loads (a folder's name: Qdrant without a server)
python search.py http://localhost:6333 "a query"    searches
"""

import re
from contextlib import closing
from pathlib import Path

import numpy as np
from qdrant_client import QdrantClient, models

from acclimate.base.text import counted
from acclimate.deploy.exports import arrays as parts
from acclimate.deploy.exports.client import Fusion, first_of_documents
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import arguments, asking, show

COLLECTION = "acclimate"
_ADDRESS = re.compile(r"https?:|localhost\b|[^/\\]+:\d+(?:/|$)", re.IGNORECASE)
_POINTS, _BYTES = 64, 32_000_000  # sent at once; by default, a server refuses more than 32 MiB
_NUMBER_BYTES, _CHARACTER_BYTES = 24, 6  # at most, in JSON


def connect(url):
    """A client of a server, or of Qdrant in a folder. Raises ValueError for an address without its scheme."""
    if "://" in url:
        return QdrantClient(url=url, timeout=600)
    if _ADDRESS.match(url):
        raise ValueError("an address without http:// before it; a folder of that name is written ./NAME")
    return QdrantClient(path=url)


def load(client, folder, progress=lambda done: None):
    """Create the collection anew and fill it; returns its number of points.

    progress: called with the number of points loaded."""
    _, arrays = next(parts.read(folder / "parts"))
    sparse = [key.removesuffix(".terms") for key in arrays if key.endswith(".terms")]
    late = [key.removesuffix(".tokens") for key in arrays if key.endswith(".tokens")]
    dense = {key: vectors_of(array) for key, array in arrays.items() if "." not in key and key != "number"}
    dense |= {name: vectors_of(arrays[f"{name}.tokens"], late=True) for name in late}
    client.delete_collection(COLLECTION)
    client.create_collection(
        COLLECTION,
        vectors_config={plain(name): params for name, params in dense.items()},
        sparse_vectors_config={plain(name): models.SparseVectorParams() for name in sparse},
    )
    done = 0
    for points in batches(points_of(folder, dense, sparse)):
        client.upsert(COLLECTION, points, wait=True)
        done += len(points)
        progress(done)
    return client.count(COLLECTION, exact=True).count


def points_of(folder, dense, sparse):
    for rows, arrays in parts.read(folder / "parts"):
        for place, row in enumerate(rows):
            yield models.PointStruct(id=row["number"], payload=row, vector=vectors(arrays, place, dense, sparse))


def batches(points):
    """Lists of points that are sent together."""
    batch, n_bytes = [], 0
    for point in points:
        size = bytes_of(point)
        if batch and (len(batch) == _POINTS or n_bytes + size > _BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(point)
        n_bytes += size
    if batch:
        yield batch


def bytes_of(point):
    """The most bytes that a point has in JSON."""
    n_numbers = 0
    for vector in point.vector.values():
        rows = [vector.indices, vector.values] if isinstance(vector, models.SparseVector) else vector
        n_numbers += sum(map(len, rows)) if rows and isinstance(rows[0], list) else len(rows)
    n_characters = sum(len(value) for value in point.payload.values() if isinstance(value, str))
    return _NUMBER_BYTES * n_numbers + _CHARACTER_BYTES * n_characters


def plain(name):
    """A member's name as the name of a vector."""
    return name.replace(":", "_")


def vectors_of(array, late=False):
    """The configuration of a vector; token vectors have 16 bits and no graph, as they only score candidates."""
    params = {"size": array.shape[1], "distance": models.Distance.DOT}
    if late:
        params["multivector_config"] = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        params |= {"hnsw_config": models.HnswConfigDiff(m=0), "datatype": models.Datatype.FLOAT16}
    return models.VectorParams(**params)


def vectors(arrays, place, dense, sparse):
    by_name = {}
    for name in dense:
        tokens = f"{name}.tokens" in arrays
        by_name[plain(name)] = (parts.token_vectors(arrays, name, place) if tokens else arrays[name][place]).tolist()
    for name in sparse:
        span = slice(*arrays[f"{name}.starts"][place : place + 2])
        terms, weights = arrays[f"{name}.terms"][span].tolist(), arrays[f"{name}.weights"][span].tolist()
        by_name[plain(name)] = models.SparseVector(indices=terms, values=weights)
    return by_name


def searcher(client, folder, *, exact=False):
    """A function (query, k) -> [(id, score, title, text)], best first. exact: without approximate indexes."""
    side, fusion = QuerySide(folder / "query"), Fusion.open(folder)
    params = models.SearchParams(exact=True) if exact else None  # a folder warns of any

    def ask(name, part, limit, numbers=None):
        """(number, score) of the best points, among `numbers` if given."""
        if hasattr(part, "ids"):
            if not part.ids:
                return []
            part = models.SparseVector(indices=part.ids, values=part.weights)
        else:
            part = part.tolist()
        among = None if numbers is None else models.Filter(must=[models.HasIdCondition(has_id=numbers.tolist())])
        points = client.query_points(
            COLLECTION, query=part, using=plain(name), limit=limit, query_filter=among, search_params=params,
            with_payload=False,
        ).points  # fmt: skip
        return sorted(((point.id, point.score) for point in points), key=lambda hit: (-hit[1], hit[0]))

    def search(query, k=10):
        members = side(query)

        def scores_of(name, numbers):
            scores = dict(ask(name, members[name], len(numbers), numbers)) if len(numbers) else {}
            return np.array([scores.get(number, 0.0) for number in numbers.tolist()], np.float32)

        # An index does not break ties: fetch more, and keep the first by score and number.
        hits = {name: ask(name, members[name], 2 * fusion.depth)[: fusion.depth] for name in fusion.sources}
        named = {name: [number for number, _ in of_source] for name, of_source in hits.items()}
        ranked = fusion.ranked(named, scores_of)
        payloads = {}
        for start in range(0, len(ranked), 256):
            ids = [number for number, _ in ranked[start : start + 256]]
            payloads |= {point.id: point.payload for point in client.retrieve(COLLECTION, ids)}
        best = first_of_documents(ranked, {number: payload["document"] for number, payload in payloads.items()}, k)
        rows = ((payloads[number], score) for number, score in best)
        return [(payload["document"], score, payload["title"], payload["text"]) for payload, score in rows]

    return search


if __name__ == "__main__":
    url, *queries = arguments(__doc__, 1, 2)
    here = Path(__file__).parent
    with asking(url, "Qdrant"), closing(connect(url)) as client:
        for query in queries:
            show(searcher(client, here)(query))
        if not queries:
            print(counted(load(client, here), "document"))
