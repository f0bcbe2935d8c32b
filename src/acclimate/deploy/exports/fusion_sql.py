"""A system as SQL: candidates from its sources, scored by its members, fused by min-max scaling or reciprocal ranks.

How a member retrieves and scores differs between databases and is passed in as fragments; the rest is plain SQL for
both PostgreSQL and SQLite. It computes the same as `search.system`. Documents are numbered in the order of their ids,
so the number breaks ties as the id does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from acclimate.search.candidates import RANK_CONSTANT
from acclimate.search.system import System


class Fragment(NamedTuple):
    """A member in the SQL of a database."""

    scored: str = ""  # select of `doc` and `score` for all documents found; the others may use it as `NAME_scored`
    named: str = ""  # select of `doc` and `score` for its candidates, best first
    joined: str = ""  # join to `candidates` that makes `score` available
    score: str = ""  # expression of a candidate's score


def identifier(member: str) -> str:
    """The name of a member in tables, columns and fields."""
    return member.replace(":", "_").replace("-", "_")


def fused(system: System, fragments: Mapping[str, Fragment]) -> list[str]:
    """Common table expressions, the last of them `fused (doc, score)`: each candidate with the system's score.

    fragments: of every source and every weighted member.
    """
    names = {member: identifier(member) for member in fragments}
    tables = [
        f"{names[member]}_scored as materialized (\n{fragment.scored}\n)"
        for member, fragment in fragments.items()
        if fragment.scored
    ]
    tables += [f"{names[source]}_named as materialized (\n{fragments[source].named}\n)" for source in system.sources]
    union = "\n  union ".join(f"select doc from {names[source]}_named" for source in system.sources)
    candidates = f"candidates as (\n  {union}\n)"
    if not system.weights:
        ranked = "\n  union all ".join(
            f"select doc, 1.0 / ({RANK_CONSTANT} + row_number() over (order by score desc, doc)) as score "
            f"from {names[source]}_named"
            for source in system.sources
        )
        return [
            *tables,
            f"ranks as (\n  {ranked}\n)",
            "fused as (select doc, sum(score) as score from ranks group by doc)",
        ]
    joins = "".join(f"\n  {fragments[member].joined}" for member in system.parts)
    columns = ", ".join(f"{fragments[member].score} as {names[member]}" for member in system.parts)
    scores = f"scores as (\n  select candidates.doc, {columns}\n  from candidates{joins}\n)"
    if len(system.parts) == 1:
        return [*tables, candidates, scores, f"fused as (select doc, {names[system.parts[0]]} as score from scores)"]
    added = "\n    + ".join(f"{system.weights[member]} * {_min_max(names[member])}" for member in sorted(system.parts))
    return [*tables, candidates, scores, f"fused as (\n  select doc, {added} as score\n  from scores\n)"]


def _min_max(column: str) -> str:
    """A query's scores scaled to [0, 1]; 0 where all are equal."""
    low, high = f"min({column}) over ()", f"max({column}) over ()"
    return f"coalesce(({column} - {low}) / nullif({high} - {low}, 0), 0)"
