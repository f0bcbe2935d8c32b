"""The service behind the HTTP routes: search, comparison, feedback and grading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from acclimate.base.draw import draw
from acclimate.base.errors import DataError
from acclimate.base.text import counted, quoted
from acclimate.deploy.searchers import Hit
from acclimate.deploy.serving import schemas
from acclimate.deploy.serving.feedback import Click, Feedback, Grade, Preference
from acclimate.deploy.serving.guard import Refused, again
from acclimate.deploy.serving.limits import Limits
from acclimate.deploy.serving.loaded import LoadedRun
from acclimate.deploy.serving.metrics import Metrics
from acclimate.deploy.serving.reloading import Reloading, state_of
from acclimate.deploy.serving.worker import Answer, Question, Worker

COMPARED_DEPTH = 50  # ranks searched for a document of the other side
JUDGED_DEPTH = 10  # documents of each side to grade
_TEXT = 2000  # characters of a document to grade
_SHOWN = 320  # characters of a document's text with highlighting

T = TypeVar("T")


class Service:
    """Serves one run."""

    def __init__(self, folder: Path, system: str | None, limits: Limits) -> None:
        """Raises DataError and SettingError as `LoadedRun` does; returns when a query can be answered at once."""
        self.limits, self.metrics = limits, Metrics()

        def load() -> LoadedRun:
            return LoadedRun(folder, system)

        state = state_of(folder)
        run = load()
        run.warm()
        self.worker = Worker(run, on_batch=self.metrics.batch)
        self.reloading = Reloading(self.worker, load, folder, state)
        self.feedback = Feedback(folder)

    @property
    def run(self) -> LoadedRun:
        """The run served now."""
        return self.worker.run

    def close(self) -> None:
        """Answer pending questions and release all resources."""
        self.worker.close()
        self.feedback.close()

    async def answer(self, query: str, systems: tuple[str, ...], k: int, filters: str = "") -> Answer:
        """Answer a query. Raises Refused for a query or k beyond the limits, SettingError for an unknown system."""
        self.check_query(query)
        if not 1 <= k <= self.limits.max_k:
            raise Refused(422, f"k is {k}; expected 1 to {self.limits.max_k}")
        self.run.fields.check(filters)
        question = Question(query, systems, k, filters)
        return await asyncio.wrap_future(self.worker.ask(question))

    def check_query(self, query: str) -> None:
        """Raise Refused for a query that is empty or too long."""
        if not query.strip():
            raise Refused(422, "the query is empty; expected text to search for")
        if len(query) > self.limits.max_query_chars:
            raise Refused(
                422,
                f"the query has {counted(len(query), 'character')}; at most {self.limits.max_query_chars:,} are read",
            )

    async def search(self, request: schemas.Search, filters: str) -> schemas.Results:
        system = str(self.run.named(request.system))
        answer = await self.answer(request.query, (system,), request.k, filters)
        hits = [schemas.Hit(**_facts(hit, rank, request.chars)) for rank, hit in enumerate(answer.hits[system], 1)]
        return schemas.Results(query=request.query, system=system, hits=hits)

    async def compare(self, request: schemas.Compare, filters: str) -> schemas.Comparison:
        first, second = (str(self.run.named(name)) for name in request.systems or self.run.sides)
        if first == second:
            raise Refused(422, f"both systems are {first}; expected two")
        if request.k > self.limits.max_k:
            raise Refused(422, f"k is {request.k}; expected 1 to {self.limits.max_k}")
        left, right = (first, second)
        if request.blind and draw("side", request.seed, request.query, *sorted((first, second))) % 2:
            left, right = right, left
        depth = min(max(request.k, COMPARED_DEPTH), self.limits.max_k)
        answer = await self.answer(request.query, tuple(sorted((left, right))), depth, filters)
        return await asyncio.to_thread(self._compared, request, answer, left, right, depth)  # highlighting takes time

    def _compared(
        self, request: schemas.Compare, answer: Answer, left: str, right: str, depth: int
    ) -> schemas.Comparison:
        ranks = {
            system: {hit.document_id: rank for rank, hit in enumerate(hits, 1)} for system, hits in answer.hits.items()
        }
        sides = {
            system: schemas.Side(
                system=system,
                hits=[
                    self._marked(answer, request, hit, rank, ranks[other].get(hit.document_id))
                    for rank, hit in enumerate(answer.hits[system][: request.k], 1)
                ],
            )
            for system, other in ((left, right), (right, left))
        }
        shared = len({hit.doc_id for hit in sides[left].hits} & {hit.doc_id for hit in sides[right].hits})
        return schemas.Comparison(
            query=request.query, left=sides[left], right=sides[right], shared=shared, depth=depth, seed=request.seed
        )

    def _marked(
        self, answer: Answer, request: schemas.Compare, hit: Hit, rank: int, other_rank: int | None
    ) -> schemas.MarkedHit:
        marker = answer.run.marker
        return schemas.MarkedHit(
            **_facts(hit, rank, request.chars),
            other_rank=other_rank,
            marked_title=marker.marked(request.query, hit.doc.title),
            marked_text=marker.marked(request.query, hit.doc.text, chars=_SHOWN),
        )

    def keep(self, feedback: schemas.PreferenceGiven | schemas.GradeGiven | schemas.ClickGiven) -> None:
        """Store feedback. Raises Refused for an unknown document or system."""
        self.check_query(feedback.query)
        run = self.run
        if isinstance(feedback, schemas.PreferenceGiven):
            left, right = run.named(feedback.left), run.named(feedback.right)
            preference = Preference(feedback.query, left, right, feedback.preference, feedback.blind, feedback.seed)
            self._use_feedback(lambda: self.feedback.prefer(preference, feedback.rater))
        elif isinstance(feedback, schemas.GradeGiven):
            self.keep_grades(feedback.query, {feedback.doc_id: feedback.grade}, feedback.rater)
        else:
            self._check_documents([feedback.doc_id])
            click = Click(feedback.query, feedback.doc_id, run.named(feedback.system), feedback.rank)
            self._use_feedback(lambda: self.feedback.click(click, feedback.rater))

    def keep_grades(self, query: str, grades: Mapping[str, int], rater: str) -> None:
        """Store grades, all or none."""
        self.check_query(query)
        self._check_documents(grades)
        self._use_feedback(lambda: self.feedback.grade([Grade(query, *pair) for pair in grades.items()], rater))

    async def to_judge(self, after: str | None) -> schemas.ToJudge:
        """The next ungraded query (after the query `after`, if given), with the results of both sides for it."""
        run = self.run
        texts, graded = await asyncio.to_thread(lambda: (self._texts_to_judge(run), self._graded()))
        rest = texts[texts.index(after) + 1 :] if after in texts else texts
        text = next((text for text in rest if text not in graded), None)
        n_graded = sum(text in graded for text in texts)
        if text is None:
            return schemas.ToJudge(query=None, graded=n_graded, queries=len(texts))
        answer = await self.answer(text, tuple(map(str, run.sides)), min(JUDGED_DEPTH, self.limits.max_k))
        hits = {hit.document_id: hit for hits in answer.hits.values() for hit in hits}
        drawn = sorted(hits.values(), key=lambda hit: draw("judge", text, hit.document_id))
        shown = [
            schemas.HitToGrade(
                doc_id=hit.document_id,
                title=hit.doc.title,
                text=hit.doc.text[:_TEXT],
                marked_text=answer.run.marker.marked(text, hit.doc.text, chars=_SHOWN),
            )
            for hit in drawn
        ]
        return schemas.ToJudge(query=text, hits=shown, graded=n_graded, queries=len(texts))

    def _texts_to_judge(self, run: LoadedRun) -> list[str]:
        return [query.text for query in run.queries_to_judge if len(query.text) <= self.limits.max_query_chars]

    def _graded(self) -> set[str]:
        return {grade.query for grade in self._use_feedback(self.feedback.grades)}

    def grades_of(self, query: str) -> dict[str, int]:
        """Grades for a query: doc_id -> grade."""
        return {grade.doc_id: grade.grade for grade in self._use_feedback(lambda: self.feedback.grades(query))}

    def health(self) -> schemas.Health:
        run = self.run
        return schemas.Health(
            status="ok",
            system=run.system,
            systems=[*run.names],
            compared=(str(run.sides[0]), str(run.sides[1])),
            documents=run.n_docs,
            fields=run.fields.names,
            verdict=run.verdict,
            run=run.fingerprint,
            problem=self.reloading.problem,
        )

    def _check_documents(self, doc_ids: Iterable[str]) -> None:
        for doc_id in doc_ids:
            if not self.run.has(doc_id):
                raise Refused(422, f"no document has the id {quoted(doc_id)}")

    @staticmethod
    def _use_feedback(work: Callable[[], T]) -> T:
        """Call `work`, which reads or writes feedback. Raises Refused if its file cannot be used."""
        try:
            return work()
        except DataError as error:
            raise again(503, str(error)) from None


def _facts(hit: Hit, rank: int, chars: int) -> dict[str, Any]:
    """The fields of a hit in a response."""
    return {"rank": rank, **hit.as_dict(), "text": hit.doc.text[:chars]}
