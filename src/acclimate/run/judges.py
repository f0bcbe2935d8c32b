"""What a run's retrievers, rerankers and LLMs say of its synthetic queries. It is kept, so they are asked once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acclimate.base import models
from acclimate.base.files import fingerprint
from acclimate.llm.grade import grade
from acclimate.records import Retriever, SyntheticQuery
from acclimate.run.retrievers import BASE_MEMBERS, SOURCES
from acclimate.run.run import Run
from acclimate.search.ranks import source_ranks

RERANKER_TOKENS = 512
WEIGHTS = {  # of the members of each retriever
    "hybrid": dict.fromkeys(SOURCES, 0.5),
    "teacher": dict.fromkeys(BASE_MEMBERS, 1 / len(BASE_MEMBERS)),
    **{name: {name: 1.0} for name in BASE_MEMBERS},
}


@dataclass
class RunJudges:
    """Implements `stages.filter.Judges` with what a run has.

    What is trained for it is trained in `folder`, and removed.
    """

    run: Run
    held_out: Collection[str]  # ids of the source documents that teach nothing
    folder: Path
    progress: Callable[[int, int], None]
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})  # of the LLM's answers

    def ranks(self, retriever: str, queries: Sequence[SyntheticQuery], depth: int) -> list[float]:
        def searched() -> Callable[[list[int]], Sequence[float]]:
            system = self._trained(queries) if retriever == "trained" else self._untrained(retriever)

            def ranked(places: list[int]) -> list[float]:
                batch = [queries[place] for place in places]
                ranks = source_ranks(batch, system, depth=depth)
                return [ranks.get(query.query_id, math.inf) for query in batch]

            return ranked

        trained = (self.run.settings["distill"], sorted(self.held_out), self.run.seed) if retriever == "trained" else ()
        key = fingerprint("rank", retriever, depth, self.run.settings["index"], self.run.base.fingerprint, trained)
        return self._kept(key, queries, searched)

    def rerank(self, model: str, queries: Sequence[SyntheticQuery]) -> list[float]:
        def loaded() -> Callable[[list[int]], Sequence[float]]:
            from acclimate.search import scorers

            scorer = scorers.load(model, self.run.input.corpus, max_tokens=RERANKER_TOKENS)
            return lambda places: scorer.score([(queries[place].as_query(), queries[place].doc_id) for place in places])

        key = fingerprint("score", models.weights_fingerprint(model), RERANKER_TOKENS, models.dtype_name())
        return self._kept(key, queries, loaded)

    def grade(self, llm: str, prompt: str, queries: Sequence[SyntheticQuery]) -> list[float]:
        with self.run.store.completions("filter") as completions:
            grades, self.tokens = grade(queries, self.run.input.corpus, completions, llm, prompt, self.progress)
        return grades

    def _kept(
        self,
        scorer: str,
        queries: Sequence[SyntheticQuery],
        load: Callable[[], Callable[[list[int]], Sequence[float]]],
    ) -> list[float]:
        """The scores of these queries, from the file or by what `load` gives, which is called when one is missing.

        Which queries share a batch moves a score's rounding, so those of another list are scores of their own.
        """
        ids = [query.query_id for query in queries]
        with self.run.store.scores() as scores:
            return scores.of(fingerprint(scorer, self.run.input.corpus.fingerprint, ids), ids, load, self.progress)

    def _untrained(self, name: str) -> Retriever:
        from acclimate.search.system import System

        weights = WEIGHTS[name]
        sources = [member for member in weights if member in SOURCES] or SOURCES
        return System(self.run.base.ids, self.run.base.members, sources, weights)

    def _trained(self, queries: Sequence[SyntheticQuery]) -> Retriever:
        from acclimate.learn.students.round_trip import trained_retriever

        run, folder = self.run, self.folder / "trained"
        return trained_retriever(
            queries, self.held_out, run.input.corpus, run.base.ids, run.base.vectors, run.base.encoder, folder,
            settings=run.settings["distill"], seed=run.seed, progress=self.progress,
        )  # fmt: skip
