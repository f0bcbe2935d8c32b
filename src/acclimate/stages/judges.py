"""Who filters ask: the retrievers, rerankers and LLMs of a run. What they said is kept, so it is asked for once."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acclimate.base import models
from acclimate.base.files import fingerprint
from acclimate.llm.grade import grade
from acclimate.records import NWay, Query, Retriever, SyntheticQuery
from acclimate.run.run import BASE_MEMBERS, SOURCES, Run
from acclimate.search.scorers.kept import Scores
from acclimate.stages.distill import distill

Progress = Callable[[int, int], None]
Score = Callable[[list[int]], Sequence[float]]  # of the queries at these places
RERANKER_TOKENS = 512
TEACHER = dict.fromkeys(BASE_MEMBERS, 1 / len(BASE_MEMBERS))
ALONE = {name: {name: 1.0} for name in BASE_MEMBERS}
WEIGHTS = {"hybrid": dict.fromkeys(SOURCES, 0.5), "teacher": TEACHER, **ALONE}


@dataclass
class RunJudges:
    """Implements `stages.filter.Judges`. What is made on the way is made in `folder`, and removed."""

    run: Run
    held_out: Collection[str]  # ids of the source documents that teach nothing
    folder: Path
    progress: Progress
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})  # of the LLM's answers

    def ranks(self, retriever: str, queries: Sequence[SyntheticQuery], depth: int) -> list[float]:
        def searched() -> Score:
            found = self._trained(queries) if retriever == "trained" else self._untrained(retriever)

            def ranked(places: list[int]) -> list[float]:
                batch = [queries[at] for at in places]
                ranks = source_ranks(batch, found, depth=depth)
                return [ranks.get(query.query_id, math.inf) for query in batch]

            return ranked

        trained = (self.run.settings["distill"], sorted(self.held_out), self.run.seed) if retriever == "trained" else ()
        key = fingerprint("rank", retriever, depth, self.run.settings["index"], self.run.encoder_fingerprint, trained)
        return self._kept(key, queries, searched)

    def rerank(self, model: str, queries: Sequence[SyntheticQuery]) -> list[float]:
        def loaded() -> Score:
            from acclimate.search import scorers

            scorer = scorers.load(model, self.run.corpus, max_tokens=RERANKER_TOKENS)
            return lambda places: scorer.score([(queries[at].as_query(), queries[at].doc_id) for at in places])

        key = fingerprint("score", models.weights_fingerprint(model), RERANKER_TOKENS, models.dtype_name())
        return self._kept(key, queries, loaded)

    def grade(self, llm: str, prompt: str, queries: Sequence[SyntheticQuery]) -> list[float]:
        with self.run.completions("filter") as completions:
            grades, self.tokens = grade(queries, self.run.corpus, completions, llm, prompt, self.progress)
        return grades

    def _kept(self, scorer: str, queries: Sequence[SyntheticQuery], load: Callable[[], Score]) -> list[float]:
        """The scores of these queries, from the file or by what `load` gives, which is called when one is missing.

        Which queries share a batch moves a score's rounding, so those of another list are scores of their own.
        """
        ids = [query.query_id for query in queries]
        with Scores(self.run.workspace.folder / "scores.sqlite") as scores:
            return scores.of(fingerprint(scorer, self.run.corpus.fingerprint, ids), ids, load, self.progress)

    def _untrained(self, name: str) -> Retriever:
        from acclimate.search.system import System

        weights = WEIGHTS[name]
        return System(self.run.ids, self.run.members, [n for n in weights if n in SOURCES] or SOURCES, weights)

    def _trained(self, queries: Sequence[SyntheticQuery]) -> Retriever:
        """Dense retrieval whose query encoder learned, from these very queries, to find their source documents."""
        from acclimate.learn.students.lesson import Lesson
        from acclimate.search.encoder import Encoder
        from acclimate.search.members import DenseMember
        from acclimate.search.system import System

        run = self.run
        asked = {query.query_id: query.text for query in queries}
        lesson = Lesson(asked, run.corpus, run.ids, run.vectors)
        pairs = [NWay(query.query_id, (query.doc_id,), (1.0,)) for query in queries]
        training = [pair for pair in pairs if pair.doc_ids[0] not in self.held_out]
        checks = [pair for pair in pairs if pair.doc_ids[0] in self.held_out]
        settings = {**run.settings["distill"], "student": ("dense-query",), "contrastive": 1.0, "max_queries": 0}
        folder = self.folder / "trained"
        distill(training, checks, run.encoder, lesson, folder, seed=run.seed, progress=self.progress, **settings)
        encoder = Encoder.load_student(folder / "dense", max_tokens=run.settings["index"]["max_tokens"])
        system = System(run.ids, {"dense": DenseMember(run.vectors, encoder)}, ["dense"], {"dense": 1.0})
        shutil.rmtree(folder)
        return system


def source_ranks(queries: Sequence[SyntheticQuery], retriever: Retriever, *, depth: int) -> dict[str, int]:
    """query_id -> rank from 1 of its source document; queries whose source is not in the top `depth` are left out."""
    sources = {query.query_id: query.doc_id for query in queries}
    ranks: dict[str, int] = {}
    place: dict[str, int] = {}
    for hit in retriever.search([Query(query.query_id, query.text) for query in queries], depth):
        place[hit.query_id] = place.get(hit.query_id, 0) + 1
        if hit.doc_id == sources[hit.query_id]:
            ranks[hit.query_id] = place[hit.query_id]
    return ranks
