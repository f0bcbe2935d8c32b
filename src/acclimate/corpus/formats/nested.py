"""Training examples as nested JSON objects.

ours           {"query_id", "doc_ids", "scores", "has_positive"}: see `nway`
GPL            {"qid", "pos": [ids], "neg": {miner: [ids]}}
Tevatron v1    {"query_id", "query", "positive_passages": [{"docid", "title", "text", perhaps "score"}],
               "negative_passages"}
ms-swift       {"messages": [{"role", "content"}], "positive_messages": [[...]], "negative_messages": [[...]]}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from acclimate.base.text import counted
from acclimate.corpus.formats import fields, nway
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Field, Place, as_json, identifier, number, read_field, text, without
from acclimate.corpus.formats.rows import json_list, objects, optional_list
from acclimate.corpus.formats.source import Source
from acclimate.corpus.formats.writing import write_objects
from acclimate.records import NWay

MINER = "acclimate"  # name of the miner in GPL's files


def read_nway(path: Path) -> Content:
    """Our format; lists may also be JSON text, as in tables."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in objects(path):
            values = {name: value for name, value in values.items() if value is not None}
            for name in values.keys() & {"doc_ids", "scores"}:
                values[name] = json_list(values[name], name, place)
            example, text = nway.nway_of(values, place), values.get("query")
            yield Row(
                place,
                Example(
                    example.query_id,
                    text if isinstance(text, str) else "",
                    example.doc_ids,
                    (),
                    example.scores,
                    example.has_positive,
                ),
                without(values, nway.KEYS),
            )

    return Content(examples=examples)


def write_nway(path: Path, source: Source) -> int:
    """Ours."""

    def rows() -> Iterator[dict[str, Any]]:
        for _, example, others in source.examples():
            ours = NWay(example.query_id, example.doc_ids, example.scores, example.has_positive)
            yield nway.row_of(ours) | without(others, nway.KEYS)

    return write_objects(path, rows())


def read_gpl(path: Path) -> Content:
    """GPL's hard negatives: one example per positive, with the distinct negatives of all miners."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in objects(path):
            query_id = read_field(values, Field("query id", ("qid",)), identifier, place)
            mined = values.get("neg", {})
            if not isinstance(mined, dict):
                raise place.error(f"'neg' is {as_json(mined)}; expected an object of lists, by miner")
            negatives = [
                identifier(doc_id, "neg", place)
                for miner, doc_ids in mined.items()
                for doc_id in json_list(doc_ids, miner, place)
            ]
            others = without(values, ("qid", "pos", "neg"))
            positives = [identifier(doc_id, "pos", place) for doc_id in json_list(values.get("pos"), "pos", place)]
            for example in _of_each(positives, list(dict.fromkeys(negatives)), place):
                yield Row(place, Example(query_id, doc_ids=example), others)

    return Content(examples=examples)


def write_gpl(path: Path, source: Source) -> int:
    """GPL's hard negatives, by one miner."""
    return write_objects(
        path,
        (
            {"qid": example.query_id, "pos": [example.doc_ids[0]], "neg": {MINER: list(example.doc_ids[1:])}}
            | without(others, ("qid", "pos", "neg"))
            for _, example, others in source.examples()
        ),
    )


def read_tevatron(path: Path) -> Content:
    """Tevatron v1's format: ids and texts, and scores if every passage has one."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in objects(path):
            query_id = read_field(values, Field("query id", ("query_id",)), identifier, place)
            query = read_field(values, Field("query", ("query",)), text, place)
            positives, negatives = (
                [_passage(passage, name, place) for passage in optional_list(values, name, place)]
                for name in ("positive_passages", "negative_passages")
            )
            others = without(values, ("query_id", "query", "positive_passages", "negative_passages"))
            for docs in _of_each(positives, negatives, place):
                scores = tuple(score for _, _, score in docs if score is not None)
                if scores and len(scores) < len(docs):
                    raise place.error(
                        f"{len(scores)} of {counted(len(docs), 'passage')} have a score; expected all or none"
                    )
                ids, texts = tuple(doc[0] for doc in docs), tuple(doc[1] for doc in docs)
                yield Row(place, Example(query_id, query, ids, texts, scores), others)

    return Content(examples=examples)


def write_tevatron(path: Path, source: Source) -> int:
    """Tevatron v1's format, with the title in the text, as models read it."""

    def rows() -> Iterator[dict[str, Any]]:
        for _, example, others in source.examples(texts=True):
            passages: list[dict[str, Any]] = [
                {"docid": doc_id, "text": text} for doc_id, text in zip(example.doc_ids, example.texts, strict=True)
            ]
            if example.scores:
                passages = [{**doc, "score": score} for doc, score in zip(passages, example.scores, strict=True)]
            values = {"query_id": example.query_id, "query": example.query}
            values |= {"positive_passages": passages[:1], "negative_passages": passages[1:]}
            yield values | without(others, values)

    return write_objects(path, rows())


def read_swift(path: Path) -> Content:
    """ms-swift's format: the text of a conversation is its last message."""

    def examples() -> Iterator[Row[Example]]:
        for place, values in objects(path):
            query = _content(values.get("messages"), "messages", place)
            positives, negatives = (
                [_content(messages, name, place) for messages in optional_list(values, name, place)]
                for name in ("positive_messages", "negative_messages")
            )
            others = without(values, ("messages", "positive_messages", "negative_messages"))
            for example in _of_each(positives, negatives, place):
                yield Row(place, Example(query=query, texts=example), others)

    return Content(examples=examples)


def write_swift(path: Path, source: Source) -> int:
    """ms-swift's format: one user message per conversation."""

    def rows() -> Iterator[dict[str, Any]]:
        for _, example, others in source.examples(ids=False, texts=True):
            query, *docs = ([{"role": "user", "content": text}] for text in (example.query, *example.texts))
            values = {"messages": query, "positive_messages": docs[:1], "negative_messages": docs[1:]}
            yield values | without(others, values)

    return write_objects(path, rows())


def _of_each(positives: Sequence[Any], negatives: Sequence[Any], place: Place) -> Iterator[tuple[Any, ...]]:
    """The documents of one example per positive; other positives are not among its negatives."""
    if not positives:
        raise place.error("no positive; expected one, or remove the line")
    for positive in positives:
        yield positive, *(doc for doc in negatives if doc == positive or doc not in positives)


def _passage(value: Any, name: str, place: Place) -> tuple[str, str, float | None]:
    if not isinstance(value, dict):
        raise place.error(f"{name!r} has {as_json(value)}; expected an object with docid and text")
    _, doc, _ = next(fields.docs([(place, value)]))
    score = value.get("score")
    return doc.doc_id, doc.default_text(), None if score is None else number(score, "score", place)


def _content(messages: Any, name: str, place: Place) -> str:
    last = messages[-1] if isinstance(messages, list) and messages else messages
    if not isinstance(last, dict):
        raise place.error(f"{name!r} is {as_json(messages)}; expected a list of messages with a content")
    return text(last.get("content"), name, place)
