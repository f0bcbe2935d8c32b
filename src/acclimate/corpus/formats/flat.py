"""Training examples as flat JSON objects with a query, positives and negatives, under each format's own keys.

format          query id    query         positives                 negatives                 scores
FlagEmbedding               query         pos                       neg                       pos_scores, neg_scores
nixietune                   query         doc (one text)            neg
Cohere                      query         relevant_passages         hard_negatives
NeMo Automodel              query         pos_doc                   neg_doc
Tevatron v2     query_id    query_text    positive_document_ids     negative_document_ids

Tevatron's are ids, the others' texts. A row with several positives is an example for each of them, with all negatives.
nixietune's `negscore` has no score of the positive, so it is kept as it is and is no teacher's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.text import counted
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Field, Place, identifier, number, pick, read_field, text, without
from acclimate.corpus.formats.rows import json_list, objects, optional_list
from acclimate.corpus.formats.source import Source
from acclimate.corpus.formats.writing import write_objects


class Keys(NamedTuple):
    """A format's keys for the parts of an example; "" for parts it lacks."""

    positives: str
    negatives: str
    query: str = "query"
    query_id: str = ""
    positive_scores: str = ""
    negative_scores: str = ""
    are_ids: bool = False
    has_one_positive: bool = False  # then it is no list

    def read(self, path: Path) -> Content:
        return Content(
            examples=lambda: (row for place, values in objects(path) for row in self._examples(values, place))
        )

    def write(self, path: Path, source: Source) -> int:
        rows = source.examples(ids=self.are_ids, texts=not self.are_ids)
        return write_objects(path, (self._row(row, source) for row in rows))

    def _examples(self, values: dict[str, Any], place: Place) -> Iterator[Row[Example]]:
        query = read_field(values, Field("query", (self.query,)), text, place)
        query_id = ""
        if self.query_id:
            query_id = read_field(values, Field("query id", (self.query_id,)), identifier, place)
        positive = values[pick(values, Field("positive", (self.positives,)), place)]
        positives = self._docs([positive] if self.has_one_positive else positive, self.positives, place)
        negatives = self._docs(optional_list(values, self.negatives, place), self.negatives, place)
        if not positives:
            raise place.error(f"{self.positives!r} is empty; expected a positive, or remove the line")
        positive_scores, negative_scores = self._scores(values, len(positives), len(negatives), place)
        others = {name: value for name, value in values.items() if not name or name not in self}
        for n, doc in enumerate(positives):
            kept = [m for m, other in enumerate(negatives) if other == doc or other not in positives]
            docs = (doc, *(negatives[m] for m in kept))
            scores = (positive_scores[n], *(negative_scores[m] for m in kept)) if positive_scores else ()
            ids, texts = (docs, ()) if self.are_ids else ((), docs)
            yield Row(place, Example(query_id, query, ids, texts, scores), others)

    def _docs(self, values: Any, name: str, place: Place) -> list[str]:
        read = identifier if self.are_ids else text
        return [read(value, name, place) for value in json_list(values, name, place)]

    def _scores(
        self, values: dict[str, Any], n_positives: int, n_negatives: int, place: Place
    ) -> tuple[list[float], list[float]]:
        """The scores of positives and negatives: none, or one per document."""
        scores: list[list[float]] = []
        for name, n_docs in ((self.positive_scores, n_positives), (self.negative_scores, n_negatives)):
            listed = optional_list(values, name, place) if name else []
            if listed and len(listed) != n_docs:
                raise place.error(f"{name!r}: found {len(listed)} of them; expected one per document, {n_docs}")
            scores.append([number(score, name, place) for score in listed])
        if any(scores) and (not scores[0] or len(scores[1]) != n_negatives):
            raise place.error(
                f"{self.positive_scores!r} has {counted(len(scores[0]), 'score')} of "
                f"{counted(n_positives, 'document')} and "
                f"{self.negative_scores!r} {len(scores[1])} of {n_negatives}; expected one for each, or none at all"
            )
        return scores[0], scores[1]

    def _row(self, row: Row[Example], source: Source) -> dict[str, Any]:
        example = row.record
        docs = example.doc_ids if self.are_ids else example.texts
        values: dict[str, Any] = {self.query_id: example.query_id} if self.query_id else {}
        values[self.query] = source.lookup.query_text(example, row.place)
        values[self.positives] = docs[0] if self.has_one_positive else [docs[0]]
        values[self.negatives] = list(docs[1:])
        if example.scores and self.positive_scores:
            values[self.positive_scores] = [example.scores[0]]
            values[self.negative_scores] = list(example.scores[1:])
        return values | without(row.others, values)


FLAG_EMBEDDING = Keys("pos", "neg", positive_scores="pos_scores", negative_scores="neg_scores")
NIXIETUNE = Keys("doc", "neg", has_one_positive=True)
COHERE = Keys("relevant_passages", "hard_negatives")
NEMO_INLINE = Keys("pos_doc", "neg_doc")
TEVATRON = Keys("positive_document_ids", "negative_document_ids", query="query_text", query_id="query_id", are_ids=True)
