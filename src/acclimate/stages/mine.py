"""Mine hard negatives: documents that a retriever ranks high and that are probably not relevant.

Excluded are the source document, its near-duplicates, its siblings (passages of one document), the sources of nearly
equal queries, a document that is the query itself, and documents that score so close to the source that they may well
be relevant (the share-of-positive margin of NV-Retriever, arXiv 2407.15831). The negatives of a query depend only on
that query and on nearly equal ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, NamedTuple

from acclimate.base.digests import sha256
from acclimate.base.domains import Above, AtLeast, Between, OneOf
from acclimate.base.errors import DataError, SettingError
from acclimate.base.progress import Progress
from acclimate.base.spilled import collect
from acclimate.corpus.doc_ids import ascending
from acclimate.corpus.documents import ids_of
from acclimate.corpus.formats import read_nway, write_nway
from acclimate.corpus.positives import REASONS, Positives
from acclimate.corpus.sides import Side
from acclimate.records import Doc, NWay, ScoredDoc, SyntheticQuery
from acclimate.run.estimate import SEARCH_FLOP, Estimate
from acclimate.run.output import Account, StageOutput
from acclimate.run.retrievers import ENCODER, RETRIEVERS
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked
from acclimate.stages.filter import Filtered
from acclimate.stages.generate import Generated
from acclimate.stages.hits import hits_file, queries_with_hits, query_ids_in, read_hits, search_hits
from acclimate.stages.index import Indexed

SAMPLING = ("top", "bottom", "random")
NEAR = "near the positive"
_DRAWS_PER_WAY = 20  # random documents tried per negative before an example is left short


class Negatives(NamedTuple):
    """Training examples, and counts of what was skipped."""

    examples: Sequence[NWay]
    dropped: dict[str, int]  # excluded candidates by reason, and queries with "no negatives"
    filled: int  # negatives drawn at random, for lack of candidates


@checked
def mine(
    queries: Sequence[SyntheticQuery],
    run: Iterable[ScoredDoc],
    corpus: Mapping[str, Doc],
    parents: Mapping[str, str] = MappingProxyType({}),
    written: Sequence[SyntheticQuery] = (),
    near_duplicates: float = 0.9,
    scratch: Path | None = None,
    *,
    retriever: str = "hybrid",
    n_ways: Annotated[int, Between(1, 100_000)] = 8,
    skip_top: Annotated[int, AtLeast(0)] = 0,
    depth: Annotated[int, AtLeast(1)] = 50,
    max_share: Annotated[float, Above(0)] = 0.95,
    sampling: Annotated[str, OneOf(SAMPLING)] = "random",
    seed: int = 0,
) -> Negatives:
    """Find hard negatives for each query: documents that rank high but do not answer it.

    Returns one n-way example per query, source document first. `run` holds the hits of each query together, best first,
    and the score of its source wherever it ranks (without it, every hit counts as possibly relevant); it is read once,
    holding one query's hits at a time. `parents` maps passages to documents. `written` are all generated queries,
    dropped ones included: their sources count as relevant to nearly equal queries. `near_duplicates` is the Jaccard
    similarity of runs of three words from which two documents count as equal (1: equal texts only). `scratch` is a
    folder to hold examples; None: they are held in memory.

    A query with too few candidates is filled up with random documents; one without any negative gets no example.

    Parameters
    ----------
    retriever
        Retriever that finds the negatives: hybrid (BM25 and dense, weighted equally), bm25, dense, late-interaction
        (reranks the results of BM25 and dense retrieval), or the path of a TREC run with the ids of the synthetic
        queries.
    n_ways
        Documents per training example: one positive and n_ways - 1 negatives. 1 mines no negatives, for students with
        in-batch negatives (distill.loss=contrastive).
    skip_top
        Skip this many of the top results.
    depth
        Take negatives from this many top results.
    max_share
        Skip documents that score above this share of the source document's score; 1 or more skips none.
    sampling
        Which candidates become negatives: top (the hardest), bottom (the lowest ranked, as in DUQGen) or random.
    """
    doc_ids = ids_of(corpus)
    by_id = ascending(doc_ids)
    positives = Positives(corpus, parents, queries, written, near_duplicates)
    dropped: dict[str, int] = dict.fromkeys((*REASONS, NEAR, "no negatives"), 0)
    filled = 0
    examples = collect(list[NWay](), scratch)
    place_of: dict[str, int] = {}  # query id -> position among the examples

    def add(query: SyntheticQuery, hits: list[ScoredDoc]) -> None:
        nonlocal filled
        rng = random.Random(f"{seed}:{query.query_id}")
        positive = next((hit.score for hit in hits if hit.doc_id == query.doc_id), None)

        def is_near(hit: ScoredDoc) -> bool:
            return max_share < 1 and _is_near(hit.score, positive, max_share)

        negatives: list[str] = []
        for hit in _in_order([hit for hit in hits[skip_top:depth] if hit.doc_id != query.doc_id], sampling, rng):
            if len(negatives) == n_ways - 1:
                break
            reason = positives.reason(query, hit.doc_id)
            if reason is None and is_near(hit):
                reason = NEAR
            if reason is None:
                negatives.append(hit.doc_id)
            else:
                dropped[reason] += 1
        seen = {query.doc_id, *(hit.doc_id for place, hit in enumerate(hits) if place < depth or is_near(hit))}
        for place in rng.sample(range(len(by_id)), min(len(by_id), _DRAWS_PER_WAY * n_ways)):
            if len(negatives) == n_ways - 1:
                break
            doc_id = doc_ids[by_id[place]]
            if doc_id not in seen and positives.reason(query, doc_id) is None:
                negatives.append(doc_id)
                filled += 1
        if negatives or n_ways == 1:
            place_of[query.query_id] = len(examples)
            examples.append(NWay(query.query_id, (query.doc_id, *negatives)))
        else:
            dropped["no negatives"] += 1

    without_hits = {query.query_id: query for query in queries}
    for query_id, hits in groupby(run, key=lambda hit: hit.query_id):
        if query_id in without_hits:
            add(without_hits.pop(query_id), list(hits))
    for query in without_hits.values():
        add(query, [])
    in_order = (examples[place_of[query.query_id]] for query in queries if query.query_id in place_of)
    return Negatives(collect(in_order, scratch), dropped, filled)


def _in_order(hits: list[ScoredDoc], sampling: str, rng: random.Random) -> list[ScoredDoc]:
    """The candidates in the order in which they are tried."""
    if sampling == "random":
        return rng.sample(hits, len(hits))
    return hits if sampling == "top" else hits[::-1]


def _is_near(score: float, positive: float | None, max_share: float) -> bool:
    """True if a score is above this share of the source's (of either sign), or if the source's is unknown."""
    return positive is None or score > (max_share if positive >= 0 else 2 - max_share) * positive


class Mined(StageOutput):
    """Training examples: each query with its source document and negatives."""

    stage = "mine"
    kept_nothing = "no query got an example to train on"
    advice: ClassVar[Mapping[str, str]] = {NEAR: "raise mine.max_share"}

    @cached_property
    def examples(self) -> list[NWay]:
        """N-way examples, source document first."""
        return list(read_nway(self.folder / "examples.jsonl"))

    def sides(self, queries: Mapping[Side, Iterable[SyntheticQuery]]) -> dict[Side, list[NWay]]:
        """The examples of these queries (see `Filtered.sides`) by the split of the query."""
        ids: dict[Side, set[str]] = {side: {query.query_id for query in of_side} for side, of_side in queries.items()}
        return {side: [example for example in self.examples if example.query_id in ids[side]] for side in ids}


def check(run: Run) -> None:
    """Raises SettingError if `mine.retriever` is neither a retriever nor a file, or if it is to find nothing."""
    settings = run.settings["mine"]
    hits_file(settings["retriever"])
    if settings["skip_top"] >= settings["depth"]:
        raise SettingError(
            f"mine.skip_top is {settings['skip_top']}; expected less than mine.depth={settings['depth']}"
        )


def check_hits(run: Run) -> None:
    """Raises DataError for a TREC run that is empty or names unknown documents, before hours of work."""
    path = hits_file(run.settings["mine"]["retriever"])
    if path and not run.workspace.is_made("mine") and not query_ids_in(path, run.input.corpus):
        raise DataError("no hits in this run; expected some for each query", path=path)


def estimate(run: Run, n_queries: float) -> Estimate:
    """Cost of one search per query, where there are negatives to search for."""
    settings = run.settings["mine"]
    searches = settings["n_ways"] > 1 and settings["retriever"] in RETRIEVERS
    return Estimate(SEARCH_FLOP * n_queries * searches)


def make(run: Run, indexed: Indexed, generated: Generated, filtered: Filtered) -> Mined:
    """Find hard negatives for the filtered queries."""

    def work(folder: Path, progress: Progress) -> Account:
        queries, corpus, dropped = filtered.queries, run.input.corpus, {}
        hits: Iterable[ScoredDoc] = ()
        if path:
            queries, hits = queries_with_hits(queries, path, corpus), read_hits(path)
            dropped = {"not in the run": len(filtered.queries) - len(queries)}
        elif settings["n_ways"] > 1:
            hits = search_hits(queries, run, indexed, settings["retriever"], settings["depth"], progress)
        near_duplicates = run.settings["sample"]["near_duplicates"]
        result = mine(
            queries,
            hits,
            corpus,
            run.input.parents,
            generated.queries,
            near_duplicates,
            folder,
            seed=run.seed,
            **settings,
        )
        write_nway(folder / "examples.jsonl", result.examples)
        return Account(
            len(filtered.queries),
            len(result.examples),
            result.dropped | dropped,
            notes={"filled_at_random": result.filled},
        )

    settings, path = run.settings["mine"], hits_file(run.settings["mine"]["retriever"])
    inputs = {
        **{output.name: output.fingerprint for output in (generated, filtered, indexed)},
        DOCUMENTS: run.input.corpus.fingerprint,
        **run.read(*ENCODER, "sample.near_duplicates"),
        **({"run": sha256(path)} if path else {}),
    }
    return run.make(Mined, work, inputs=inputs, unit="queries")
