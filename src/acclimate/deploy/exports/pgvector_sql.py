"""The SQL of an export to PostgreSQL: tables, functions, indexes."""

from __future__ import annotations

from acclimate.deploy.exports.fusion_sql import Fragment, fused, identifier
from acclimate.deploy.exports.source import DENSE, LATE_INTERACTION, LEXICAL, Source

_MARK = "made by acclimate export"
_MOST_INDEXED = 2000  # pgvector's limit of dimensions in an HNSW index
_EF_SEARCH = 400  # candidates of HNSW search: twice what is fetched; the default of 40 would find fewer

_SCHEMA = f"""-- What an earlier export left in the schema is replaced; one that is anybody else's is left alone.
do $$ begin
  if exists (select from pg_namespace where nspname = 'acclimate'
             and obj_description(oid, 'pg_namespace') is distinct from '{_MARK}') then
    raise exception 'there is a schema acclimate that no export made; rename it, or drop it';
  end if;
end $$;
create extension if not exists vector;
drop schema if exists acclimate cascade;
create schema acclimate;
comment on schema acclimate is '{_MARK}';

-- number: the place of an id among all sorted ids, which breaks ties; document: what a passage is of, else the id
create table acclimate.documents (
  number integer primary key, id text collate "C" not null, document text collate "C" not null,
  title text not null, text text not null);
"""
_POSTINGS = """
create table acclimate.{name}_terms (term integer primary key, word text collate "C" not null);
create table acclimate.{name}_postings (term integer not null, doc integer not null, weight real not null);
"""
_VECTORS = """
create table acclimate.{name}_vectors (doc integer primary key, vector vector({dim}) not null);
"""
_TOKENS = """
-- the vector of a token is scale * vector
create table acclimate.{name}_tokens (
  doc integer not null, place integer not null, scale real not null, vector halfvec({dim}) not null);
"""
_BM25 = """
-- {name} alone: the sum over the query's words of its weight times the document's
create function acclimate.{name}(words text[], weights real[], k integer default 10)
returns table (id text, score double precision, title text, text text)
language sql stable parallel safe set search_path = acclimate, public as $$
  select documents.id, scored.score, documents.title, documents.text
  from (
    select doc, sum(cast(posting.weight as double precision) * asked.weight) as score
    from unnest(words, weights) as asked (word, weight)
    join {name}_terms using (word) join {name}_postings as posting using (term)
    group by doc
  ) as scored join documents on documents.number = scored.doc
  where scored.score > 0 order by scored.score desc, number limit k
$$;
"""
_DENSE = """
-- {name} alone: the inner product of vectors of unit length, which is their cosine
create function acclimate.{name}(query vector, k integer default 10)
returns table (id text, score double precision, title text, text text)
language sql stable parallel safe set search_path = acclimate, public set hnsw.ef_search = {ef_search} as $$
  select documents.id, nearest.score, documents.title, documents.text
  from (
    select doc, -(vector <#> query) as score from {name}_vectors order by vector <#> query limit 2 * k
  ) as nearest join documents on documents.number = nearest.doc
  order by nearest.score desc, number limit k
$$;
"""
_SEARCH = """
-- {system}: {weights}
create function acclimate.search({parameters}, k integer default 10)
returns table (id text, score double precision, title text, text text)
language sql stable parallel safe set search_path = acclimate, public{settings} as $$
with {tables},
best as (
  select distinct on (documents.document) documents.document, number, fused.score
  from fused join documents on documents.number = fused.doc
  order by documents.document, fused.score desc, number
)
select best.document, best.score, documents.title, documents.text
from best join documents using (number)
order by best.score desc, best.document
limit k
$$;
"""


def schema(source: Source) -> str:
    """The tables."""
    parts = [_SCHEMA]
    for name, kind in source.kinds.items():
        table = identifier(name)
        if kind in LEXICAL:
            parts.append(_POSTINGS.format(name=table))
        else:
            parts.append((_VECTORS if kind == DENSE else _TOKENS).format(name=table, dim=source.dim(name)))
    return "".join(parts)


def functions(source: Source) -> str:
    """A function for each member that retrieves, and one for the system."""
    parts: list[str] = []
    parameters: list[str] = []
    for name, kind in source.kinds.items():
        table = identifier(name)
        if kind in LEXICAL:
            parts.append(_BM25.format(name=table))
            parameters += [f"{table}_words text[]", f"{table}_weights real[]"]
        elif kind == DENSE:
            parts.append(_DENSE.format(name=table, ef_search=_EF_SEARCH))
            parameters.append(f"{table} vector")
        else:
            parameters.append(f"{table} vector[]")
    fragments = {name: _fragment(identifier(name), kind, source.system.depth) for name, kind in source.kinds.items()}
    weights = ", ".join(f"{weight} {name}" for name, weight in source.system.weights.items())
    search = _SEARCH.format(
        system=source.name,
        weights=weights or f"reciprocal ranks of {' and '.join(source.system.sources)}",
        parameters=", ".join(parameters),
        settings=f" set hnsw.ef_search = {_EF_SEARCH}" if DENSE in source.kinds.values() else "",
        tables=",\n".join(fused(source.system, fragments)),
    )
    return "".join([*parts, search])


def _fragment(name: str, kind: str, depth: int) -> Fragment:
    """The SQL of a member. Parameters are written search.NAME, because a column of the same name would shadow them."""
    if kind in LEXICAL:
        scored = (
            "  select doc, sum(cast(posting.weight as double precision) * asked.weight) as score\n"
            f"  from unnest(search.{name}_words, search.{name}_weights) as asked (word, weight)\n"
            f"  join {name}_terms using (word) join {name}_postings as posting using (term)\n  group by doc"
        )
        named = f"  select doc, score from {name}_scored where score > 0 order by score desc, doc limit {depth}"
        return Fragment(scored, named, f"left join {name}_scored using (doc)", f"coalesce({name}_scored.score, 0)")
    if kind == DENSE:
        distance = f"vector <#> search.{name}"
        # The index does not break ties: fetch more, and keep the first by score and number.
        named = (
            "  select doc, score from (\n"
            f"    select doc, -({distance}) as score from {name}_vectors order by {distance} limit {2 * depth}\n"
            f"  ) as nearest order by score desc, doc limit {depth}"
        )
        return Fragment("", named, f"join {name}_vectors using (doc)", f"-({name}_vectors.{distance})")
    # MaxSim: for each query token its most similar document token, averaged.
    scored = f"""join lateral (
    select avg(best) as score from (
      select max(-(token.vector <#> asked.vector) * token.scale) as best
      from (
        select cast(vector as vector) as vector, scale from {name}_tokens where doc = candidates.doc offset 0
      ) as token
      cross join unnest(search.{name}) with ordinality as asked (vector, place)
      group by asked.place
    ) as nearest
  ) as {name} on true"""
    return Fragment("", "", scored, f"{name}.score")


def indexes(source: Source) -> str:
    """Indexes that speed up search without changing results."""
    lines = ["create unique index on acclimate.documents (id);", "create index on acclimate.documents (document);"]
    for name, kind in source.kinds.items():
        table = f"acclimate.{identifier(name)}"
        if kind in LEXICAL:
            lines += [f"create unique index on {table}_terms (word);", f"create index on {table}_postings (term);"]
        elif kind == LATE_INTERACTION:
            lines.append(f"create index on {table}_tokens (doc);")
    return "\n".join([*lines, *(f"analyze acclimate.{table};" for table in tables(source)), ""])


def hnsw(source: Source) -> str:
    """Approximate indexes of dense vectors: large collections need them, and they sometimes miss a document."""
    return "".join(
        f"create index on acclimate.{identifier(name)}_vectors using hnsw (vector vector_ip_ops);\n"
        for name, kind in source.kinds.items()
        if kind == DENSE and source.dim(name) <= _MOST_INDEXED
    )


def tables(source: Source) -> list[str]:
    """The names of all tables."""
    names = ["documents"]
    for name, kind in source.kinds.items():
        ends = ["terms", "postings"] if kind in LEXICAL else ["vectors"] if kind == DENSE else ["tokens"]
        names += [f"{identifier(name)}_{end}" for end in ends]
    return names
