"""Scores of synthetic queries by a run's retrievers, rerankers and LLMs. They are cached, so each is computed once."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.corpus.near_duplicates import NearDuplicateDocs
from acclimate.corpus.positives import Positives
from acclimate.llm.grade import grade
from acclimate.records import Retriever, Scorer, SyntheticQuery
from acclimate.run.output import StageOutput
from acclimate.run.retrievers import RETRIEVERS, sources_of
from acclimate.run.run import Run
from acclimate.search.candidates import rank_of
from acclimate.search.ranks import source_ranks
from acclimate.search.scorers.cached import CachedScorer, cache_scores, cached_scores
from acclimate.search.scorers.lists import query_batches
from acclimate.stages.sample import Sampled

TRAINED = "trained"  # the retriever, or reranker, trained on the queries themselves


class Raters(Protocol):
    """What `filter` reads scores from. Models load on first use; scores are in the order of the queries."""

    def ranks(self, retriever: str, queries: Sequence[SyntheticQuery], depth: int) -> Sequence[float]:
        """The rank, from 1, of each source document; infinite beyond `depth`. `teacher` is a retriever, too."""
        ...

    def rerank(self, model: str, queries: Sequence[SyntheticQuery], max_tokens: int) -> Sequence[float]:
        """A reranker's score of each query with its source document, truncated to `max_tokens`."""
        ...

    def consistency_ranks(self, queries: Sequence[SyntheticQuery]) -> Sequence[float]:
        """The rank of each source among BM25's first 100 by a reranker trained on these queries; infinite beyond."""
        ...

    def are_copied(self, queries: Sequence[SyntheticQuery]) -> Sequence[float]:
        """1 for a query that its source document contains verbatim, up to case and spacing; else 0."""
        ...

    def grade(self, llm: str, prompt: str, queries: Sequence[SyntheticQuery]) -> Sequence[float]:
        """An LLM's grade of each query, 0 to 3; NaN if its answer cannot be read."""
        ...


@dataclass
class RunRaters:
    """`Raters` that use the models of a run.

    Models trained for it go to `folder`, and are removed afterwards.
    """

    run: Run
    indexed: StageOutput
    sampled: Sampled
    folder: Path
    progress: Callable[[int, int], None]
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})  # used by the LLM

    def ranks(self, retriever: str, queries: Sequence[SyntheticQuery], depth: int) -> list[float]:
        if retriever == TRAINED:
            return self._trained_ranks(queries, depth)
        names, ids = self.run.base.names, self.run.base.ids
        weights = dict.fromkeys(names, 1 / len(names)) if retriever == "teacher" else RETRIEVERS[retriever]
        sources = sources_of(weights)
        rows = [ids.row[query.doc_id] for query in queries]
        with self.run.candidates(self.indexed, depth, weights) as kept:
            lists = kept.candidates([query.as_query() for query in queries], rows, self.progress)
            ranks = [
                rank_of(row, candidates.named_by(sources), ids, weights)
                for row, candidates in zip(rows, lists, strict=True)
            ]
        return [math.inf if rank is None or rank > depth else float(rank) for rank in ranks]

    def consistency_ranks(self, queries: Sequence[SyntheticQuery]) -> list[float]:
        lists = dict(zip((query.query_id for query in queries), self._first_of_bm25(queries), strict=True))
        settings = self.run.settings["train"], self.run.settings["mine"]["n_ways"], self._copies_from, self.run.seed
        asked = [(query.query_id, query.text, query.doc_id, lists[query.query_id]) for query in queries]
        base = models.weights_fingerprint(self.run.settings["train"]["base"])
        corpus = self.run.input.corpus.fingerprint
        key = fingerprint("consistency", asked, corpus, base, models.dtype_name(), settings, sorted(self.held_out))
        with self.run.store.scores() as kept:
            ranks = cached_scores(kept, key, len(queries))
            if ranks is None:
                scorer, ranks = CachedScorer(self._trained_reranker(queries, lists), kept, corpus), list[float]()
                for query in queries:
                    ranks.append(_rank_by(scorer, query, lists[query.query_id]))
                    self.progress(len(ranks), len(queries))
                cache_scores(kept, key, ranks)
        shutil.rmtree(self.folder / TRAINED, ignore_errors=True)
        return ranks

    def _first_of_bm25(self, queries: Sequence[SyntheticQuery]) -> Iterator[list[str]]:
        ids, rows = self.run.base.ids, [self.run.base.ids.row[query.doc_id] for query in queries]
        with self.run.candidates(self.indexed) as kept:
            for candidates in kept.candidates([query.as_query() for query in queries], rows):
                assert candidates.rows_by_source is not None
                yield [ids.doc_ids[row] for row in candidates.rows_by_source["bm25"]]

    def _trained_reranker(self, queries: Sequence[SyntheticQuery], lists: Mapping[str, list[str]]) -> Scorer:
        from acclimate.learn.rerankers.consistency import trained_reranker

        run, settings = self.run, self.run.settings["train"]
        positives = Positives(run.input.corpus, run.input.parents, queries, (), self._copies_from)
        return trained_reranker(
            queries, lists, self.held_out, run.input.corpus, self.folder / TRAINED,
            can_contrast=lambda query, doc_id: positives.reason(query, doc_id) is None,
            n_ways=settings["n_ways"] or run.settings["mine"]["n_ways"], settings=settings, seed=run.seed,
            progress=self.progress,
        )  # fmt: skip

    def are_copied(self, queries: Sequence[SyntheticQuery]) -> list[float]:
        corpus = self.run.input.corpus
        return [float(_folded(query.text) in _folded(corpus[query.doc_id].default_text())) for query in queries]

    def rerank(self, model: str, queries: Sequence[SyntheticQuery], max_tokens: int) -> list[float]:
        from acclimate.search.scorers import named

        corpus, scores = self.run.input.corpus, dict[str, float]()
        rater = named.load_reranker(model, corpus, max_tokens=max_tokens)
        with self.run.store.scores() as kept:
            scorer = CachedScorer(rater, kept, corpus.fingerprint)
            groups = query_batches(queries)
            calls = ([(query.as_query(), query.doc_id) for query in group] for group in groups)
            for group, rated in zip(groups, scorer.score_calls(calls), strict=True):
                scores |= zip([query.query_id for query in group], rated, strict=True)
                self.progress(len(scores), len(queries))
        return [scores[query.query_id] for query in queries]

    def grade(self, llm: str, prompt: str, queries: Sequence[SyntheticQuery]) -> list[float]:
        read = {doc.doc_id: doc for doc in self.sampled.docs(self.run.input.corpus)}
        with self.run.store.completions("filter") as completions:
            grades, self.tokens = grade(queries, read, completions, llm, prompt, self.progress)
        return grades

    @property
    def held_out(self) -> set[str]:
        """Ids of the source documents outside the train split."""
        return {doc_id for doc_id, side in self.sampled.splits.items() if side != "train"}

    @property
    def _copies_from(self) -> float:
        """Similarity from which two documents are near-duplicates, so that neither is a negative of the other."""
        return self.run.settings["sample"]["near_duplicates"]

    def _trained_ranks(self, queries: Sequence[SyntheticQuery], depth: int) -> list[float]:
        """Ranks by a retriever trained on all of these queries, so cached for exactly this list of queries."""
        asked = [(query.query_id, query.text, query.doc_id) for query in queries]
        index = self.indexed.fingerprint, self.indexed.manifest["inputs"]
        training = self.run.settings["distill"], self._copies_from, self.run.seed, sorted(self.held_out)
        key = fingerprint("ranks of trained", depth, asked, index, training)
        with self.run.store.scores() as kept:
            ranks = cached_scores(kept, key, len(queries))
            if ranks is None:
                by_id = source_ranks(queries, self._trained(queries), depth=depth)
                ranks = [by_id.get(query.query_id, math.inf) for query in queries]
                cache_scores(kept, key, ranks)
        shutil.rmtree(self.folder / TRAINED, ignore_errors=True)
        return ranks

    def _trained(self, queries: Sequence[SyntheticQuery]) -> Retriever:
        from acclimate.learn.students.round_trip import trained_retriever
        from acclimate.learn.students.training_data import TrainingData

        run, base, texts = self.run, self.run.base, {query.query_id: query.text for query in queries}
        copies = NearDuplicateDocs(run.input.corpus, self._copies_from)
        return trained_retriever(
            queries, self.held_out, base.encoder, TrainingData(texts, run.input.corpus, base.ids, base.vectors, copies),
            self.folder / TRAINED, settings=run.settings["distill"], seed=run.seed, progress=self.progress,
        )  # fmt: skip


def _rank_by(scorer: Scorer, query: SyntheticQuery, doc_ids: Sequence[str]) -> float:
    """The rank, from 1, of the source among these documents, ties by id; infinite if it is not among them."""
    if query.doc_id not in doc_ids:
        return math.inf
    scores = scorer.score([(query.as_query(), doc_id) for doc_id in doc_ids])
    order = sorted(zip(scores, doc_ids, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return 1.0 + [doc_id for _, doc_id in order].index(query.doc_id)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
