"""The Vespa schema of a system: the fields of a document, and a rank profile that fuses the scores of all members.

https://docs.vespa.ai/en/reference/schemas/schemas.html and, for the global phase,
https://docs.vespa.ai/en/ranking/phased-ranking.html: `normalize_linear` is the run's min-max scaling, `reciprocal_rank`
its reciprocal rank, both over the hits that the phase ranks, which are the candidates. Equal scores are ranked in the
order of the first phase, hence `order_NAME`; `tie_break` makes all scores differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from acclimate.deploy.exports.fusion_sql import identifier
from acclimate.deploy.exports.source import DENSE, LEXICAL, Source
from acclimate.search.candidates import RANK_CONSTANT

MAX_HITS = 400  # that a query may request, unless a query profile allows more
_RANKED = 10  # candidates ranked for each one requested; of a million documents, `wand` retrieves ten times as many
_STEPS = 1_000_000  # steps in a unit of a source's score; within a step, documents are ordered by number
_TIE_BREAK = "0.000000001 * tie_break"  # less than any difference of scores that matters
IDS = {"id": "doc_id", "document": "document_id"}  # renamed: these words are reserved in schemas
SERVICES = """<?xml version="1.0" encoding="utf-8"?>
<services version="1.0">
  <container id="default" version="1.0">
    <search/>
    <document-api/>
    <nodes><node hostalias="node1"/></nodes>
  </container>
  <content id="acclimate" version="1.0">
    <min-redundancy>1</min-redundancy>
    <documents><document type="acclimate" mode="index"/></documents>
    <nodes><node hostalias="node1" distribution-key="0"/></nodes>
  </content>
</services>
"""
_FAST_RANK = ["indexing: attribute", "attribute: fast-rank"]


class _Part(NamedTuple):
    """What a member adds to a schema."""

    fields: list[str]
    input: str
    score: str


def schema(source: Source) -> str:
    """The content of acclimate.sd, whose rank profile is called `system`."""
    parts = {name: _part(source, name) for name in source.members}
    fields = [
        _block("field number type int", "indexing: attribute | summary"),
        *(_block(f"field {name} type string", "indexing: attribute | summary") for name in IDS.values()),
        *(_block(f"field {name} type string", "indexing: index | summary") for name in ("title", "text")),
        *(field for part in parts.values() for field in part.fields),
    ]
    functions = {score_of(name): part.score for name, part in parts.items()}
    functions["tie_break"] = f"attribute(number) / {len(source.corpus)}"
    if not source.system.weights:
        functions |= {_order_of(name): f"{_STEPS} * {score_of(name)} - tie_break" for name in source.system.sources}
    profile = [
        _block("inputs", *(part.input for part in parts.values())),
        *(_block(f"function {name}()", f"expression: {expression}") for name, expression in functions.items()),
        _block("first-phase", f"expression: {' + '.join(map(score_of, source.system.sources))}"),
        _block(
            "global-phase",
            f"expression: {_system(source)} - {_TIE_BREAK}",
            f"rerank-count: {_RANKED * most_candidates(source)}",
        ),
        _block("match-features", *functions),  # make content nodes compute them
    ]
    return (
        _block("schema acclimate", _block("document acclimate", *fields), _block("rank-profile system", *profile))
        + "\n"
    )


def score_of(member: str) -> str:
    """The rank profile's function for a member's score."""
    return f"score_{identifier(member)}"


def most_candidates(source: Source) -> int:
    """The most candidates that are requested of all sources together."""
    return source.system.depth * len(source.system.sources)


def _order_of(member: str) -> str:
    return f"order_{identifier(member)}"


def _part(source: Source, name: str) -> _Part:
    kind, field = source.kinds[name], identifier(name)
    if kind in LEXICAL:
        terms = _block(f"field {field}_terms type weightedset<int>", "indexing: attribute", "attribute: fast-search")
        weights = _block(f"field {field}_weights type tensor<float>(term{{}})", *_FAST_RANK)
        score = f"sum(query({field}) * attribute({field}_weights))"
        return _Part([terms, weights], f"query({field}) tensor<float>(term{{}})", score)
    if kind == DENSE:
        type_ = f"tensor<float>(x[{source.dim(name)}])"
        index = _block("index", _block("hnsw", "max-links-per-node: 16", "neighbors-to-explore-at-insert: 200"))
        metric = _block("attribute", "distance-metric: dotproduct")
        vector = _block(f"field {field}_vector type {type_}", "indexing: attribute | index", metric, index)
        return _Part([vector], f"query({field}) {type_}", f"sum(query({field}) * attribute({field}_vector))")
    dim = source.dim(name)
    tokens = _block(f"field {field}_tokens type tensor<int8>(token{{}}, x[{dim}])", *_FAST_RANK)
    scales = _block(f"field {field}_scales type tensor<float>(token{{}})", *_FAST_RANK)
    products = f"sum(query({field}) * attribute({field}_tokens), x) * attribute({field}_scales)"
    score = f"reduce(reduce({products}, max, token), avg, querytoken)"
    return _Part([tokens, scales], f"query({field}) tensor<float>(querytoken{{}}, x[{dim}])", score)


def _system(source: Source) -> str:
    """The sum of weighted scores, or of reciprocal ranks; one member alone keeps its score."""
    system = source.system
    if not system.weights:
        return " + ".join(_reciprocal_rank(source, name) for name in system.sources)
    parts = sorted(system.parts)
    if len(parts) == 1:
        return score_of(parts[0])
    return " + ".join(f"{system.weights[name]:.6f} * normalize_linear({score_of(name)})" for name in parts)


def _reciprocal_rank(source: Source, name: str) -> str:
    """The reciprocal rank in a source's list, which ends at `depth`, and for lexical sources at a score of 0."""
    rank = f"reciprocal_rank({_order_of(name)}, {RANK_CONSTANT})"
    rank = f"if ({rank} > {1 / (RANK_CONSTANT + source.system.depth + 0.5):.8f}, {rank}, 0)"
    return f"if ({score_of(name)} > 0, {rank}, 0)" if source.kinds[name] in LEXICAL else rank


def _block(head: str, *parts: str) -> str:
    lines: Iterable[str] = (line for part in parts for line in part.split("\n"))
    return "\n".join([f"{head} {{", *(f"    {line}" for line in lines), "}"])
