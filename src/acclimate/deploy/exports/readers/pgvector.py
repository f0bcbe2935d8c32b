"""Search this export in PostgreSQL: python search.py postgresql://... "a query". It needs acclimate and psycopg."""

from pathlib import Path

from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import arguments, show


def searcher(connection, folder):
    """A function (query, k) -> rows of (id, score, title, text), best first."""
    side = QuerySide(folder / "query")

    def search(query, k=10):
        values = {}
        for member, part in side(query).items():
            values |= parameters(identifier(member), part)
        arguments = ", ".join(f"{name} => %s::{kind}" for name, (kind, _) in values.items())
        sql = f"select * from acclimate.search({arguments}, k => %s::integer)"
        return connection.execute(sql, [*(value for _, value in values.values()), k]).fetchall()

    return search


def parameters(name, part):
    """(type, value) of the function's parameters for a member: words and weights, a vector, or token vectors."""
    if hasattr(part, "terms"):
        return {f"{name}_words": ("text[]", part.terms), f"{name}_weights": ("real[]", part.weights)}
    if part.ndim == 1:
        return {name: ("vector", str(part.tolist()))}
    return {name: ("text[]::vector[]", [str(row) for row in part.tolist()])}


if __name__ == "__main__":
    import psycopg

    url, query = arguments(__doc__, 2, 2)
    try:
        with psycopg.connect(url) as connection:
            show(searcher(connection, Path(__file__).parent)(query))
    except psycopg.Error as error:
        raise SystemExit(f"PostgreSQL says: {error}") from None
