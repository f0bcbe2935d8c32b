"""Search this export: python search.py "a query". It needs acclimate, and uses sqlite-vec where it is installed."""

import json
import sqlite3
from pathlib import Path

import numpy as np

from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import arguments, show


def open_index(folder):
    """A function (query, k) -> rows of (id, score, title, text), best first."""
    database = sqlite3.connect(folder / "search.sqlite")
    try:
        import sqlite_vec  # pyright: ignore[reportMissingImports]

        database.enable_load_extension(True)
        sqlite_vec.load(database)
    except (ImportError, AttributeError):  # NumPy reads the float32 blobs too
        database.create_function("vec_distance_cosine", 2, lambda a, b: 1 - float(floats(a) @ floats(b)))
    database.create_function("max_sim", 3, max_sim)
    side, sql = QuerySide(folder / "query"), (folder / "search.sql").read_text(encoding="utf-8")
    return lambda query, k=10: database.execute(sql, {"k": k, **parameters(side(query))}).fetchall()


def parameters(members):
    """SQL parameters: numbers and weights of terms as JSON, vectors as bytes."""
    return {
        identifier(name): (
            json.dumps(dict(zip(part.ids, part.weights, strict=True))) if hasattr(part, "ids") else part.tobytes()
        )
        for name, part in members.items()
    }


def floats(blob):
    return np.frombuffer(blob, "<f4")


def max_sim(tokens, scales, query):
    """MaxSim, averaged over the query's tokens."""
    scales, query = floats(scales), floats(query)
    tokens = np.frombuffer(tokens, np.int8).reshape(len(scales), -1).astype(np.float32)
    return float((tokens @ query.reshape(-1, tokens.shape[1]).T * scales[:, None]).max(axis=0).mean())


if __name__ == "__main__":
    (query,) = arguments(__doc__, 1, 1)
    show(open_index(Path(__file__).parent)(query))
