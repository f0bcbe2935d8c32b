"""acclimate convert: each format comes back as it was written, as far as it has room."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from conversions import HERE, put, quick
from hypothesis import assume, given
from hypothesis import strategies as st

from acclimate.corpus.formats import read_any_synthetic
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.registry import BY_NAME, EXAMPLES, FORMATS, Format, recognize
from acclimate.corpus.formats.source import Source
from acclimate.records import Doc, Qrel, Query, ScoredDoc, SyntheticQuery

SHUFFLED = {"colbert-triples", "colbert-examples", "colbert"}
NUMBERS = {"colbert-triples", "colbert-examples", "colbert-scores"}  # formats whose ids are line numbers
ROW_PER_NEGATIVE = {"triples", "triples-raw", "triples-ids", "colbert-triples", "gpl-training"}
NEEDS_SCORES = {"gpl-training", "columns-scores", "colbert-scores"}
WRITTEN = [form.name for form in FORMATS if form.kind == EXAMPLES and form.write]
HEADLESS = {"triples", "triples-raw", "triples-ids", "tuples-ids", "pairs", "gpl-training"}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")) | st.sampled_from(
    ['"', '"a" b', "a\tb", "a\r\nb", "\u2028x", "{x}", "[1]", "日本", "\0", "a,b;c", "1", '""x""']
)
names = st.sampled_from(["001", "1e5", "a/b", "NaN", "null", "x y", "é", "#", "1.0", "0", "[1]", '"q"'])
numbers = st.integers(0, 10**15).map(str)
scores = st.floats(-1e6, 1e6).map(lambda score: round(score, 3))


@st.composite
def training(draw: Any, ids: st.SearchStrategy[str]) -> tuple[list[Example], dict[str, Doc], dict[str, str]]:
    """Examples of as many documents each, all with scores or none; the documents and the queries."""
    doc_ids = draw(st.lists(ids, min_size=4, max_size=7, unique=True))
    documents = {
        doc_id: Doc(doc_id, f"{n} {draw(texts)}", draw(st.just("") | texts)) for n, doc_id in enumerate(doc_ids)
    }
    query_ids = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    queries = {query_id: f"q{n} {draw(texts)}" for n, query_id in enumerate(query_ids)}
    n_ways, has_scores = draw(st.integers(2, 4)), draw(st.booleans())
    examples = [
        Example(
            query_id,
            "",
            tuple(draw(st.permutations(doc_ids))[:n_ways]),
            (),
            tuple(draw(st.lists(scores, min_size=n_ways, max_size=n_ways, unique=True))) if has_scores else (),
        )
        for query_id in query_ids
    ]
    return examples, documents, queries


def source_of(content: Content, documents: dict[str, Doc], queries: dict[str, str], room: str = "others") -> Source:
    return Source(content, HERE.path, documents=lambda: documents, queries=queries, room=room)


def expected(examples: Iterable[Example], name: str) -> list[Example]:
    """The examples as far as the format has room for them."""
    room = BY_NAME[name].room
    result = []
    for example in examples:
        if "scores" not in room:
            example = example._replace(scores=())
        if name in ROW_PER_NEGATIVE or (name == "colbert" and not example.scores):
            result += [example.keeping([0, n]) for n in range(1, example.n_ways)]
        elif name == "colbert-scores":
            order = sorted(range(example.n_ways), key=lambda n: -example.scores[n])
            result.append(example.keeping(order)._replace(has_positive=False))
        else:
            result.append(example)
    if name == "gpl-training":
        return [example._replace(scores=(example.scores[0] - example.scores[1], 0.0)) for example in result]
    if name == "pylate":
        return [example._replace(scores=scaled(example.scores)) for example in result]
    return result


def scaled(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(
        pytest.approx((value - min(values)) / (max(values) - min(values)), abs=1e-9)  # type: ignore[misc]
        for value in values
    )


def name_of(form: Format) -> str:
    return form.name


COLLECTION_PARTS = {"documents", "queries", "judgments", "runs", "collections"}


@quick
@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
def test_training_examples_come_back(tmp_path_factory: pytest.TempPathFactory, name: str, data: Any) -> None:
    form = BY_NAME[name]
    assert form.write
    examples, documents, queries = data.draw(training(numbers if name in NUMBERS else names))
    assume(examples[0].scores or name not in NEEDS_SCORES)
    others = {"teacher": "x", "n": [1]}
    path = tmp_path_factory.mktemp("t") / "file"
    content = Content(examples=lambda: (Row(HERE, example, others) for example in examples))
    form.write(path, source_of(content, documents, queries, form.room))
    if name not in HEADLESS and not (name == "colbert-examples" and not examples[0].scores):
        assert recognize(path).name == name
    read = form.read(path)
    rows = list(source_of(read, documents, queries, "others scores positive").examples())
    came, wanted = [row.record._replace(query="", texts=()) for row in rows], expected(examples, name)
    assert sorted(came) == sorted(wanted) if name in SHUFFLED else came == wanted
    if "others" in form.room:
        assert all(others.items() <= dict(row.others).items() for row in rows)


@quick
@pytest.mark.parametrize("name", ["synthetic", "inpars", "inpars-v1"])
@given(data=st.data())
def test_synthetic_queries_come_back(tmp_path_factory: pytest.TempPathFactory, name: str, data: Any) -> None:
    log_probs = st.lists(st.floats(-50, 0), max_size=4).map(tuple)
    queries = [
        SyntheticQuery(
            data.draw(names),
            f"q{data.draw(texts)}x",
            data.draw(names),
            math.fsum(values) / len(values) if values else -1.0,
            data.draw(st.sampled_from(["", "p"])),
            values,
        )
        for values in data.draw(st.lists(log_probs, min_size=1, max_size=3))
    ]
    path = tmp_path_factory.mktemp("s") / "queries.jsonl"
    content = Content(synthetic=lambda: (Row(HERE, query, {"text": "its text", "score": 1}) for query in queries))
    form = BY_NAME[name]
    assert form.write
    form.write(path, source_of(content, {}, {}, form.room))
    first = {query.query_id: query for query in reversed(queries)}
    assert list(read_any_synthetic(path)) == [
        first[query_id] for query_id in dict.fromkeys(q.query_id for q in queries)
    ]


@quick
@pytest.mark.parametrize(
    "form", [form for form in FORMATS if form.kind in COLLECTION_PARTS and form.write], ids=name_of
)
@given(data=st.data())
def test_collections_and_runs_come_back(tmp_path_factory: pytest.TempPathFactory, form: Format, data: Any) -> None:
    _, documents, queries = data.draw(training(numbers if form.name == "qas" else names))
    qrels = [Qrel(query_id, doc_id, data.draw(st.integers(1, 3))) for query_id in queries for doc_id in documents]
    run = [ScoredDoc(query_id, doc_id, 9.5 - n) for query_id in queries for n, doc_id in enumerate(documents)]
    others = {"metadata": {"a": [None, 1.5]}}
    content = Content(
        docs=lambda: (Row(HERE, doc, others) for doc in documents.values()),
        queries=lambda: (Row(HERE, Query(*query), others) for query in queries.items()),
        qrels={"train": lambda: (Row(HERE, qrel) for qrel in qrels)},
        run=lambda: (Row(HERE, hit) for hit in run),
    )
    path = tmp_path_factory.mktemp("c") / ("train.tsv" if "qrels" in form.name else "file")
    assert form.write
    form.write(path, source_of(content, documents, queries, form.room))
    read = form.read(path)
    if read.docs:
        rows = list(read.docs())
        if form.name in ("documents", "beir", "gpl"):
            assert [row.record for row in rows] == list(documents.values())
            assert all(row.others == others for row in rows)
        else:  # one text for title and text, tabs and line ends in it blanks in a table
            assert [row.record.doc_id for row in rows] == list(documents)
            assert [row.record.text.split() for row in rows] == [
                doc.default_text().split() for doc in documents.values()
            ]
    if read.queries:
        records = [row.record for row in read.queries()]
        assert [query.query_id for query in records] == list(queries)
        assert [query.text.split() for query in records] == [text.split() for text in queries.values()]
    for rows in read.qrels.values():
        graded = form.name not in ("llama-index", "lotte")
        assert [row.record for row in rows()] == [qrel if graded else qrel._replace(relevance=1) for qrel in qrels]
    assert not read.run or [row.record for row in read.run()] == run


SEVERAL_POSITIVES: dict[str, dict[str, Any]] = {
    "flagembedding": {"query": "q", "pos": ["a", "b"], "neg": ["b", "c", "a"]},
    "cohere": {"query": "q", "relevant_passages": ["a", "b"], "hard_negatives": ["b", "c", "a"]},
    "nemo-inline": {"query": "q", "pos_doc": ["a", "b"], "neg_doc": ["b", "c", "a"]},
    "tevatron": {"query_id": "q", "query_text": "q", "positive_document_ids": ["a", "b"],
                 "negative_document_ids": ["b", "c", "a"]},
    "gpl-negatives": {"qid": "q", "pos": ["a", "b"], "neg": {"one": ["b", "c"], "other": ["c", "a"]}},
    "tevatron-v1": {"query_id": "q", "query": "q", "positive_passages": [{"docid": id, "text": id} for id in "ab"],
                    "negative_passages": [{"docid": id, "text": id} for id in "bca"]},
    "ms-swift": {"messages": [{"role": "user", "content": "q"}],
                 "positive_messages": [[{"role": "user", "content": text}] for text in "ab"],
                 "negative_messages": [[{"role": "user", "content": text}] for text in "bca"]},
    "nemo": {"corpus": [{"path": "c"}], "data": [{"question_id": "q", "question": "q", "pos_doc": [{"id": "a"},
             {"id": "b"}], "neg_doc": [{"id": "b"}, {"id": "c"}, {"id": "a"}]}]},
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL_POSITIVES)
def test_each_positive_of_a_row_is_an_example_and_no_negative_of_another(tmp_path: Path, name: str) -> None:
    read = BY_NAME[name].read(put(tmp_path / "x.json", SEVERAL_POSITIVES[name])).examples
    docs = [row.record.doc_ids or row.record.texts for row in read()] if read else []
    assert [(of[0], {*of} - {of[0]}) for of in docs] == [("a", {"c"}), ("b", {"c"})]
