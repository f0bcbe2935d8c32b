"""acclimate convert: each format comes back as it was written, as far as it has room, and is told by what is in it."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import acclimate
from acclimate.base.errors import AcclimateError
from acclimate.corpus.formats import read_any_nway, read_any_synthetic
from acclimate.corpus.formats.content import Content, Example, Row
from acclimate.corpus.formats.fields import Place
from acclimate.corpus.formats.registry import BY_NAME, EXAMPLES, FORMATS, Format, recognize
from acclimate.corpus.formats.source import Source
from acclimate.records import Doc, NWay, Qrel, Query, ScoredDoc, SyntheticQuery

HERE = Place(Path("here"))
NUMBERS = {"colbert-triples", "colbert-examples", "colbert-scores"}  # formats whose ids are line numbers
ROW_PER_NEGATIVE = {"triples", "triples-raw", "triples-ids", "colbert-triples", "gpl-training"}
NEEDS_SCORES = {"gpl-training", "columns-scores", "colbert-scores"}
WRITTEN = [form.name for form in FORMATS if form.kind == EXAMPLES and form.write]
HEADLESS = {"triples", "triples-raw", "triples-ids", "tuples-ids", "pairs", "gpl-training"}

quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")) | st.sampled_from(
    ['"', '"a" b', "a\tb", "a\r\nb", "\u2028x", "{x}", "[1]", "日本", "\0", "a,b;c", "1", '""x""']
)
names = st.sampled_from(["001", "1e5", "a/b", "NaN", "null", "x y", "é", "#", "1.0", "0", "[1]", '"q"'])
numbers = st.integers(0, 10**15).map(str)
scores = st.floats(-1e6, 1e6).map(lambda score: round(score, 3))


def put(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(AcclimateError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


# Round trips


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
    assert [row.record._replace(query="", texts=()) for row in rows] == expected(examples, name)
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


# What a file is, is told by what is in it


LINES = {
    "documents-tsv": "0\tLava erupts from below\n1\tSnow creeps down\n",
    "queries-tsv": "0\twhy does lava erupt\n1\twhere does snow creep\n",
    "qrels": "corpus-id\tquery-id\tscore\nd1\tq1\t1\n",
    "trec-qrels": "q1 0 d1 1\nq1 0 d2 0\n",
    "trec-run": "q1 Q0 d1 1 2.5 x\nq1 Q0 d2 2 2.25 x\n",
    "colbert-ranking": "1\t10\t1\t2.5\n1\t11\t2\t2.25\n2\t10\t1\t3.5\n",
    "triples": "why lava\tlava erupts\tsnow creeps\nwhy lava\tlava erupts\tthe deep sea\n",
    "triples-ids": "1\t10\t11\n1\t10\t12\n",
    "pairs": "why lava\tlava erupts\t1\nwhy lava\tsnow creeps\t0\n",
    "gpl-training": "q1\td1\td2\t3.25\nq1\td1\td3\t-1\n",
    "colbert-triples": "[0, 12, 13]\n[1, 14, 15]\n",
    "colbert-examples": "[0, [12, 0.5], [13, 0.25]]\n",
    "colbert-scores": "[0, [[0.5, 12], [0.25, 13]]]\n",
    "udapdr-results": '{"qids": [0, 0], "pids": [7, 8], "logits": [0.5, 2], "labels": [0, 1]}\n',
    "llama-index": '{\n "queries": {"q": "why"},\n "corpus": {"d": "lava"},\n "relevant_docs": {"q": ["d"]}\n}\n',
    "nemo": '{"corpus": [{"path": "c"}], "data": [{"question_id": "q", "question": "why", "pos_doc": [{"id": "d"}]}]}',
}
HINTS = {"documents-tsv": "collection.tsv", "queries-tsv": "questions.search.tsv"}


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", LINES)
def test_a_format_is_told_by_what_is_in_a_file(tmp_path: Path, name: str, compress: bool) -> None:
    path = tmp_path / HINTS.get(name, "file.of_no_type")
    content = ("\ufeff" + LINES[name].replace("\n", "\r\n")).encode()  # as some editors save it
    path.write_bytes(gzip.compress(content) if compress else content)
    form = recognize(path)
    assert form.name == name
    read = form.read(path)
    parts = [part for part in (read.docs, read.queries, read.run, read.examples, *read.qrels.values()) if part]
    assert all(list(part()) for part in parts)


def test_a_file_that_may_be_two_things_is_refused_unless_its_name_says_which(tmp_path: Path) -> None:
    rows = ({"_id": "1", "text": "lava"}, {"_id": "2", "text": "snow"})
    assert "could be documents or queries; say which with --from" in refusal(
        lambda: recognize(put(tmp_path / "x", *rows))
    )
    assert recognize(put(tmp_path / "corpus.jsonl", *rows)).name == "documents"
    assert recognize(put(tmp_path / "my-queries.jsonl", *rows)).name == "queries"


def test_filtered_queries_of_inpars_are_no_pairs_for_their_score(tmp_path: Path) -> None:
    row = {"doc_id": "d", "text": "a text", "query": "a query", "log_probs": [-1.0], "score": -0.1}
    assert recognize(put(tmp_path / "queries_filtered_v2.jsonl", row)).name == "inpars"
    del row["log_probs"]
    assert recognize(put(tmp_path / "queries_Llama-3.1-8B_CoT_filtered_all.jsonl", row)).name == "inpars"


def test_an_unknown_file_is_refused_with_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(lambda: recognize(tmp_path / "empty")).startswith(f"{tmp_path / 'empty'}: an empty folder; expected")
    message = refusal(lambda: recognize(put(tmp_path / "x.jsonl", {"colour": 1, "size": 2})))
    assert 'found "colour", "size"' in message
    assert "--from FORMAT" in message
    assert "measures of a run" in refusal(lambda: recognize(put(tmp_path / "m.json", {"num_q": 1, "map": 0.5})))
    assert "an empty file" in refusal(lambda: recognize(put(tmp_path / "e.jsonl")))
    assert "no such file" in refusal(lambda: recognize(tmp_path / "nothing"))


# Whom published files have bitten


DOCS = {doc.doc_id: doc for doc in (Doc("1", "lava erupts", "Volcano"), Doc("2", "snow creeps"), Doc("3", "deep sea"))}


def test_scores_and_ids_that_look_alike_are_not_mixed_up(tmp_path: Path) -> None:
    path = put(tmp_path / "s.json", [1, [[2, 3], [3, 2]]])  # the score comes first
    (row,) = BY_NAME["colbert-scores"].read(path).examples()  # type: ignore[misc]
    assert row.record == Example("1", "", ("2", "3"), (), (3.0, 2.0), has_positive=False)
    path = put(tmp_path / "e.json", [1, [2, 3], [3, 2]])  # the id comes first
    (row,) = BY_NAME["colbert-examples"].read(path).examples()  # type: ignore[misc]
    assert row.record == Example("1", "", ("2", "3"), (), (3.0, 2.0))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query_id": "q", "doc_ids": ["1", "2"], "scores": [1]}, "expected one per document, 2"),
        ({"query_id": "q", "doc_ids": ["1", "2"], "scores": [1, None]}, "'scores' is null"),
        ({"query_id": "q", "doc_ids": ["1", "2"], "scores": [1, float("nan")]}, "'scores' is NaN"),
        ({"query_id": "q", "doc_ids": ["1", "2"], "scores": [1, 10**400]}, "expected a number"),
        ({"query": "q", "pos": ["a"], "neg": ["b"], "pos_scores": [1]}, "expected one for each, or none at all"),
        ({"query": "q", "pos": ["a"], "neg": ["b", "c"], "pos_scores": [1], "neg_scores": [1]}, "one per document, 2"),
        ({"query": "q", "pos": [], "neg": ["b"]}, "'pos' is empty"),
        ([1, [2, 0.5], [3]], "documents with scores and documents without"),
        ([1, [[0.5, 2], [3]]], "expected a list of [score, pid]"),
        ({"query": "q", "positive": "a", "negative_1": "b", "label": [1, 2, 3]}, "expected one per document, 2"),
        ({"qid": "q", "query": "why", "answer_pids": ["1"], "answer_scores": [1, 2]}, "one grade per answer, 1"),
    ],
)
def test_half_scores_are_refused_with_their_line(tmp_path: Path, row: Any, message: str) -> None:
    path = put(tmp_path / "x.jsonl", row)
    names = {"colbert-scores"} if isinstance(row, list) and len(row) == 2 else {"colbert-examples"}
    form = BY_NAME[names.pop()] if isinstance(row, list) else recognize(path)
    said = refusal(lambda: [list(part()) for part in [form.read(path).examples or form.read(path).queries] if part])
    assert message in said
    assert f"{path}:1: " in said


def test_scores_in_some_examples_alone_are_refused(tmp_path: Path) -> None:
    rows = [
        {"query": "a", "pos": ["x"], "neg": ["y"], "pos_scores": [1], "neg_scores": [0]},
        {"query": "b", "pos": ["x"]},
    ]
    path = put(tmp_path / "f.jsonl", *rows)
    message = refusal(lambda: acclimate.convert(path, tmp_path / "o", target_format="cohere"))
    assert message == f"{path}:2: an example without scores among those with; expected scores in all of them or in none"


def test_inpars_files_of_all_kinds_are_read(tmp_path: Path) -> None:
    rows = [
        {"doc_id": 1, "doc_text": "lava", "question": " \n why lava?", "log_probs": [-1.0, -2.0]},
        {"doc_id": "2", "doc_text": "snow", "question": "who?", "log_probs": -0.5, "bad_question": "Who"},
    ]
    first, second = read_any_synthetic(put(tmp_path / "v1.jsonl", *rows))
    assert first[1:] == ("why lava?", "1", -1.5, "", (-1.0, -2.0))
    assert second[1:] == ("who?", "2", -0.5, "", ())
    rows = [
        {"doc_id": "1", "text": "lava", "query": "why lava?", "prompt_text": "p", "score": [0.5]},
        {"doc_id": "1", "text": "lava", "query": "why lava?"},
        {"doc_id": "1", "text": "lava", "query": " "},
    ]
    queries = read_any_synthetic(put(tmp_path / "plus.jsonl", *rows))
    (query,) = queries
    assert math.isnan(query.logprob)
    assert queries.dropped == {"lines left out without a query": 1, "queries left out whose id came before": 1}


def test_inpars_own_filter_finds_what_it_reads(tmp_path: Path) -> None:
    """A row has to have these keys, the list of log_probs a number for each token."""
    path = put(
        tmp_path / "q.jsonl", {"query_id": "q", "doc_id": "1", "query": "why", "log_probs": [-1, -2, -3], "x": 1}
    )
    corpus = put(
        tmp_path / "corpus.jsonl", *({"_id": doc.doc_id, "title": doc.title, "text": doc.text} for doc in DOCS.values())
    )
    acclimate.convert(path, tmp_path / "inpars.jsonl", target_format="inpars", corpus=corpus)
    row = json.loads((tmp_path / "inpars.jsonl").read_text())
    assert list(row)[:6] == ["doc_id", "text", "query", "log_probs", "prompt_text", "fewshot_examples"]
    assert row["text"] == "Volcano lava erupts"
    assert row["log_probs"] == [-1, -2, -3]
    assert row["x"] == 1


def test_a_quote_that_opens_a_raw_line_swallows_no_other(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('"why lava\tlava erupts\tsnow creeps\nwho "is\tlava erupts\tdeep sea\n')
    assert (
        len(
            read_any_nway(
                path, {d: Doc(d, t) for d, t in (("1", "lava erupts"), ("2", "snow creeps"), ("3", "deep sea"))}
            ).examples
        )
        == 2
    )


def test_triples_with_every_cell_in_quotes_are_read_without_them(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('"why lava"\t"lava erupts"\t"snow creeps"\n"why ""x"""\t"lava erupts"\t"deep sea"\n')
    assert [query.text for query in read_any_nway(path, DOCS).queries] == ["why lava", 'why "x"']


def test_positives_among_their_negatives_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("why lava\tlava erupts\tVolcano lava erupts\nwhy lava\tlava erupts\tsnow  creeps\n")
    examples = read_any_nway(path, DOCS)
    assert [example.doc_ids for example in examples.examples] == [("1", "2")]
    assert examples.dropped == {
        "documents left out that an example has twice": 1,
        "examples left out whose only negative is their positive": 1,
    }


def test_an_id_or_text_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "n.jsonl", {"query_id": "q", "doc_ids": ["1", "9"]})
    queries = put(tmp_path / "queries.jsonl", {"_id": "q", "text": "why"}, {"_id": "p", "text": "who"})
    assert "document '9' is none of the 3 documents" in refusal(lambda: read_any_nway(path, DOCS, queries=queries))
    known = put(tmp_path / "k.jsonl", {"query_id": "q", "doc_ids": ["1", "2"]})
    assert "give it with --queries FILE" in refusal(lambda: read_any_nway(known, DOCS))
    assert "give it with --corpus FILE" in refusal(
        lambda: acclimate.convert(path, tmp_path / "t.tsv", target_format="triples", queries=queries)
    )
    path = put(tmp_path / "f.jsonl", {"query": "why", "pos": ["lava erupts"], "neg": ["something else"]})
    assert 'the document "something else" is none of the 3' in refusal(lambda: read_any_nway(path, DOCS))
    assert read_any_nway(
        put(tmp_path / "g.jsonl", {"query": "why", "pos": ["lava erupts"]}), DOCS, queries=queries
    ) == (
        [Query("q", "why")],
        [NWay("q", ("1",))],
        {},
    )


def test_one_id_for_two_queries_is_refused(tmp_path: Path) -> None:
    rows = [
        {"query_id": "q", "query_text": text, "positive_document_ids": ["1"], "negative_document_ids": ["2"]}
        for text in ("why", "who")
    ]
    assert "has another text before" in refusal(lambda: read_any_nway(put(tmp_path / "t.jsonl", *rows), DOCS))


def test_ids_that_are_no_line_numbers_are_numbered_by_colberts_folder_alone(tmp_path: Path) -> None:
    path = put(tmp_path / "n.jsonl", {"query_id": "q", "doc_ids": ["01", "2"]})
    assert "write all files together with --to colbert" in refusal(
        lambda: acclimate.convert(path, tmp_path / "t.json", target_format="colbert-triples")
    )
    corpus = put(tmp_path / "corpus.jsonl", {"_id": "2", "text": "a\nb"}, {"_id": "01", "text": "c"})
    queries = put(tmp_path / "queries.jsonl", {"_id": "q", "text": "why"})
    acclimate.convert(path, tmp_path / "c", target_format="colbert", corpus=corpus, queries=queries)
    assert (tmp_path / "c/collection.tsv").read_text() == "0\ta b\n1\tc\n"
    assert (tmp_path / "c/triples.json").read_text() == "[0, 1, 0]\n"
    assert (tmp_path / "c/collection.ids.tsv").read_text() == "0\t2\n1\t01\n"
    assert read_any_nway(tmp_path / "c", {"2": Doc("2", ""), "01": Doc("01", "")}).examples == [NWay("q", ("01", "2"))]


@pytest.mark.parametrize("name", ["triples-ids", "tuples-ids", "queries-tsv", "documents-tsv"])
def test_an_id_with_a_tab_is_refused_where_no_cell_can_have_one(tmp_path: Path, name: str) -> None:
    rows = {
        "queries-tsv": {"_id": "a\tb", "text": "t"},
        "documents-tsv": {"_id": "a\tb", "title": "", "text": "t"},
    }.get(name, {"query_id": "q", "doc_ids": ["a\tb", "c"]})
    path = put(tmp_path / "x.jsonl", rows)
    assert "no id in a TSV file can have" in refusal(
        lambda: acclimate.convert(
            path, tmp_path / "o", source_format="queries" if name == "queries-tsv" else "", target_format=name
        )
    )
    assert not (tmp_path / "o").exists()


def test_a_list_of_objects_is_refused_with_the_command_that_unpacks_it(tmp_path: Path) -> None:
    for content in ('[{"query": "a", "pos": ["b"]}]\n', '[\n {"query": "a", "pos": ["b"]}\n]\n'):
        (tmp_path / "f.json").write_text(content)
        assert "jq -c '.[]' f.json" in refusal(lambda: recognize(tmp_path / "f.json"))


def test_a_folder_that_is_there_and_the_file_that_is_read_are_kept(tmp_path: Path) -> None:
    path = put(tmp_path / "q.jsonl", {"query_id": "q", "doc_id": "1", "query": "why"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    assert "expected a new one" in refusal(lambda: acclimate.convert(path, tmp_path / "mine", target_format="beir"))
    assert "take the place of what is read" in refusal(lambda: acclimate.convert(path, path, target_format="inpars"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine", "q.jsonl"]


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path) -> None:
    path = put(tmp_path / "n.jsonl", {"query_id": "q", "doc_ids": ["1", "2"]}, {"query_id": "q", "doc_ids": []})
    refusal(lambda: acclimate.convert(path, tmp_path / "t.tsv"))
    refusal(lambda: acclimate.convert(path, tmp_path / "p", target_format="pylate"))
    assert [file.name for file in tmp_path.iterdir()] == ["n.jsonl"]


def test_a_lotte_folder_becomes_a_beir_folder(tmp_path: Path) -> None:
    lotte = tmp_path / "dev"
    lotte.mkdir()
    (lotte / "collection.tsv").write_text("0\tlava erupts\n1\tsnow creeps\n")
    for kind, qid in (("search", 0), ("forum", 5)):
        (lotte / f"questions.{kind}.tsv").write_text(f"{qid}\twhy {kind}\n")
        put(lotte / f"qas.{kind}.jsonl", {"qid": qid, "query": f"why {kind}", "answer_pids": [1]})
    acclimate.convert(lotte, tmp_path / "beir")
    assert (tmp_path / "beir/qrels/forum.tsv").read_text() == "query-id\tcorpus-id\tscore\n5\t1\t1\n"
    assert len((tmp_path / "beir/queries.jsonl").read_text().splitlines()) == 2


def test_queries_of_lotte_that_have_an_id_in_common_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "collection.tsv").write_text("0\tlava erupts\n1\tsnow creeps\n")
    for kind in ("search", "forum"):
        put(tmp_path / "dev" / f"qas.{kind}.jsonl", {"qid": 0, "query": f"why {kind}", "answer_pids": [1]})
    message = refusal(lambda: acclimate.convert(tmp_path / "dev", tmp_path / "beir"))
    assert (
        "query '0' is one of forum, too; convert one of the files, such as qas.search.jsonl, with --corpus" in message
    )
    corpus = tmp_path / "dev" / "collection.tsv"
    acclimate.convert(tmp_path / "dev" / "qas.search.jsonl", tmp_path / "beir", corpus=corpus)
    assert sorted(str(file.relative_to(tmp_path / "beir")) for file in (tmp_path / "beir").rglob("*.*")) == [
        "corpus.jsonl",
        "qrels/test.tsv",
        "queries.jsonl",
    ]


def test_a_gpl_folder_gives_what_it_generated(tmp_path: Path) -> None:
    (tmp_path / "qgen-qrels").mkdir()
    put(tmp_path / "corpus.jsonl", {"_id": "1", "title": "", "text": "lava"})
    put(tmp_path / "qgen-queries.jsonl", {"_id": "genQ0", "text": "why lava"})
    (tmp_path / "qgen-qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\ngenQ0\t1\t1\n")
    for path in (tmp_path, tmp_path / "qgen-queries.jsonl"):
        (query,) = read_any_synthetic(path)
        assert query[:3] == ("genQ0", "why lava", "1")


def test_a_folder_of_texts_is_a_collection_too(tmp_path: Path) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "deep" / "a.md").write_text("# Lava\n\nIt erupts.\n")
    acclimate.convert(tmp_path / "docs", tmp_path / "corpus.jsonl")
    row = json.loads((tmp_path / "corpus.jsonl").read_text())
    assert row == {"_id": "deep/a.md", "title": "Lava", "text": "It erupts.\n"}
    pairs = put(tmp_path / "p.jsonl", {"query": "why", "pos": ["Lava It erupts."]})
    acclimate.convert(pairs, tmp_path / "nway.jsonl", corpus=tmp_path / "docs")
    assert json.loads((tmp_path / "nway.jsonl").read_text())["doc_ids"] == ["deep/a.md"]


def test_a_folder_of_unknown_data_is_not_read_for_the_text_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("# About\n\nthis data\n")
    put(tmp_path / "data" / "part.jsonl", {"colour": 1})
    assert "cannot be told" in refusal(lambda: acclimate.convert(tmp_path / "data", tmp_path / "corpus.jsonl"))


def test_synthetic_queries_beside_the_judgments_of_others_are_themselves(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n9\t9\t1\n")
    (query,) = read_any_synthetic(put(tmp_path / "queries.jsonl", {"doc_id": "1", "query": "why"}))
    assert query[1:3] == ("why", "1")


def test_a_saved_data_set_and_a_table_are_read_as_json_lines_are(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"anchor": "why", "positive": "lava erupts", "negative_1": "deep sea", "label": [2.0, 1.0]}]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "x")
    for path in (tmp_path / "saved", tmp_path / "x", put(tmp_path / "y", *rows)):
        assert read_any_nway(path, DOCS).examples[0][1:3] == (("1", "3"), (2.0, 1.0))


def test_tables_in_shards_are_read_in_order(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name, rows in {
        "train": [{"query_id": 1, "document_ids": "['1', '2']".replace("'", '"'), "scores": "[0.5, 0.25]"}],
        "queries": [{"query_id": 1, "text": "why"}],
        "documents": [{"document_id": doc_id, "text": f"text {doc_id}"} for doc_id in "12"],
    }.items():
        (tmp_path / "hub" / name).mkdir(parents=True)
        for n, row in enumerate(rows):
            put(tmp_path / "hub" / name / f"{name}-{n:05}-of-{len(rows):05}.jsonl", row)
    assert recognize(tmp_path / "hub" / "documents").name == "documents"
    acclimate.convert(tmp_path / "hub", tmp_path / "f.jsonl", target_format="flagembedding")
    assert json.loads((tmp_path / "f.jsonl").read_text())["neg"] == ["text 2"]


def test_a_file_of_a_data_set_on_the_hub_is_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    path, asked = put(tmp_path / "queries.jsonl", {"doc_id": "1", "query": "why"}), []

    def downloaded(*names: Any, **options: Any) -> str:
        asked.append((*names, options["revision"]))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", downloaded)
    acclimate.convert(
        "hf:inpars/generated-data@main/scifact/queries.jsonl", tmp_path / "out", target_format="synthetic"
    )
    assert asked == [("inpars/generated-data", "scifact/queries.jsonl", "main")]
    assert (tmp_path / "out").exists()
    monkeypatch.undo()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "no data set that could be downloaded" in refusal(
        lambda: acclimate.convert("hf:a/b/c.jsonl", tmp_path / "o")
    )
    assert "names no data set" in refusal(lambda: acclimate.convert("hf:a", tmp_path / "o"))


@pytest.mark.parametrize(
    ("extra", "message"),
    [('"x": NaN', "row 1 to be written has what JSON has not"), ('"x": "\\ud800"', "what JSON has not")],
)
def test_what_json_cannot_hold_is_refused_in_unknown_keys_too(tmp_path: Path, extra: str, message: str) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "text": "a", ' + extra + "}\n")
    assert message in refusal(lambda: acclimate.convert(tmp_path / "corpus.jsonl", tmp_path / "out.jsonl"))
    assert refusal(lambda: acclimate.convert(tmp_path / "corpus.jsonl", tmp_path / "o", target_format="beir"))
    assert [file.name for file in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_dates_and_missing_numbers_of_tables_become_json(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"_id": ["1", "2"], "title": "", "text": "a", "year": [1999, None]})
    table["seen"] = pandas.to_datetime("2024-01-02").to_pydatetime()
    table.to_parquet(tmp_path / "corpus.parquet")
    acclimate.convert(tmp_path / "corpus.parquet", tmp_path / "out.jsonl")
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (first["seen"], first["year"], second["year"]) == ("2024-01-02 00:00:00", 1999.0, None)


def test_an_id_that_comes_twice_is_refused_where_it_would_be_lost(tmp_path: Path) -> None:
    corpus = put(tmp_path / "corpus.jsonl", *({"_id": "1", "title": "", "text": text} for text in "ab"))
    queries = put(tmp_path / "q.jsonl", {"query_id": "q", "doc_id": "1", "query": "why"})
    for name in ("llama-index", "gpl", "inpars"):
        message = refusal(lambda: acclimate.convert(queries, tmp_path / "o", target_format=name, corpus=corpus))  # noqa: B023
        assert "id '1' is there twice" in message
    twice = put(tmp_path / "t.jsonl", *({"query_id": "q", "doc_id": "1", "query": text} for text in "ab"))
    assert "has another text before" in refusal(
        lambda: acclimate.convert(twice, tmp_path / "o", target_format="queries")
    )


@pytest.mark.parametrize("name", ["documents", "documents-tsv"])
def test_documents_with_one_id_are_refused_and_no_folder_is_left(tmp_path: Path, name: str) -> None:
    twice = put(tmp_path / "corpus.jsonl", *({"_id": "1", "title": "", "text": text} for text in "ab"))
    target = tmp_path / "new" / "deeper" / "out"
    assert "id '1' is there twice" in refusal(lambda: acclimate.convert(twice, target, target_format=name))
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_where_nothing_can_be_written_one_line_says_so(tmp_path: Path) -> None:
    corpus = put(tmp_path / "corpus.jsonl", {"_id": "1", "title": "", "text": "a"})
    assert "nothing can be written here" in refusal(lambda: acclimate.convert(corpus, "/proc/out.jsonl"))


@pytest.mark.parametrize("margin", ["nan", "-inf"])
def test_a_margin_that_is_no_number_is_no_document(tmp_path: Path, margin: str) -> None:
    (tmp_path / "gpl.tsv").write_text(f"q\td1\td2\t1.5\nq\td1\td3\t{margin}\n")
    message = refusal(lambda: acclimate.convert(tmp_path / "gpl.tsv", tmp_path / "out.jsonl"))
    assert f'gpl.tsv:2: the margin is "{margin}"; expected a finite number' in message


def test_judgments_in_a_table_with_commas_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "qrels.csv").write_text("score,corpus-id,query-id\n2,01,q\n")
    acclimate.convert(tmp_path / "qrels.csv", tmp_path / "qrels.tsv")
    assert (tmp_path / "qrels.tsv").read_text() == "query-id\tcorpus-id\tscore\nq\t01\t2\n"


def test_pairs_as_inpars_interleaves_them_are_one_example(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    rows = [("lava erupts", 1), ("snow creeps", 0), ("lava erupts", 1), ("deep sea", 0)]
    path.write_text("".join(f"why lava\t{text}\t{label}\n" for text, label in rows))
    assert [example.doc_ids for example in read_any_nway(path, DOCS).examples] == [("1", "2", "3")]
    path.write_text("who now\tsnow creeps\t0\nwhy lava\tlava erupts\t1\n")
    assert "put those of a query together: sort pairs.tsv" in refusal(lambda: read_any_nway(path, DOCS))


def test_a_ranking_is_best_first_whatever_the_order_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("q Q0 b 1 1 x\nq Q0 c 2 3.5 x\nq Q0 a 3 1 x\n")
    acclimate.convert(tmp_path / "r", tmp_path / "ranking.tsv", target_format="colbert-ranking")
    assert (tmp_path / "ranking.tsv").read_text() == "q\tc\t1\t3.5\nq\ta\t2\t1.0\nq\tb\t3\t1.0\n"


def test_an_empty_query_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("why lava\tlava erupts\tsnow creeps\n\tlava erupts\tsnow creeps\n")
    assert refusal(lambda: read_any_nway(path, DOCS)) == f"{path}:2: the query is empty; remove the line"


def test_a_conversion_that_leaves_nothing_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    path = put(tmp_path / "n.jsonl", {"query_id": "q", "doc_ids": ["1"]})
    message = refusal(lambda: acclimate.convert(path, tmp_path / "t.tsv"))
    assert message.endswith("nothing of it can be written as triples-ids; examples left out that have no negative: 1")
    assert not (tmp_path / "t.tsv").exists()


def test_the_command_says_what_it_read_and_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from acclimate.cli.main import main

    path = put(tmp_path / "n.jsonl", {"query_id": "q", "doc_ids": ["1", "2"], "scores": [1, 2]})
    assert main(["convert", str(path), str(tmp_path / "t.tsv")]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 't.tsv'}: nway to triples-ids: 1 written\n"
    assert "n.jsonl: nway (ours" in shown.err
    assert "examples whose scores are left out: 1" in shown.err
    assert main(["convert", str(path)]) == 2
    assert main(["convert", str(path), str(tmp_path / "o"), "--to", "flagembeding"]) == 2
    assert "Did you mean 'flagembedding'?" in capsys.readouterr().err
    assert main(["convert", "--list"]) == 0
    assert all(form.name in (listed := capsys.readouterr().out) or form.name in listed for form in FORMATS[:1])


JUNK = st.sampled_from(
    [None, True, -1, 0, 1.5, 10**400, float("nan"), "", "a", [], [[]], [None], {}, {"id": None}, [{}]]
)
ROWS = {
    "documents": {"_id": "1", "title": "", "text": "lava"},
    "queries": {"_id": "1", "text": "why"},
    "qrels": {"query-id": "1", "corpus-id": "2", "score": 1},
    "qas": {"qid": 1, "query": "why", "answer_pids": [1], "answer_scores": [1]},
    "llama-index": {"queries": {"q": "why"}, "corpus": {"d": "lava"}, "relevant_docs": {"q": ["d"]}},
    "synthetic": {"query_id": "q", "doc_id": "d", "query": "why", "log_probs": [-1], "prompt": "p"},
    "inpars": {"doc_id": "d", "query": "why", "text": "lava", "log_probs": [-1]},
    "inpars-v1": {"doc_id": "d", "question": "why", "doc_text": "lava", "log_probs": -1},
    "nway": {"query_id": "q", "doc_ids": ["1", "2"], "scores": [1, 2], "has_positive": True},
    "columns-scores": {"query": "why", "positive": "lava", "negative_1": "snow", "label": [1, 2]},
    "columns-pairs": {"text_a": "why", "text_b": "lava", "label": 1},
    "columns-lists": {"query": "why", "docs": ["lava", "snow"], "labels": [1, 0]},
    "nemo": {"corpus": [{"path": "c"}], "data": [{"question_id": "q", "question": "why", "pos_doc": [{"id": "d"}]}]},
    "gpl-negatives": {"qid": "q", "pos": ["1"], "neg": {"bm25": ["2"]}},
    "udapdr-results": {"qids": [1, 1], "pids": [2, 3], "logits": [1.5, 2], "labels": [1, 0]},
    "flagembedding": {"query": "why", "pos": ["lava"], "neg": ["snow"], "pos_scores": [1], "neg_scores": [0]},
    "tevatron": {"query_id": "q", "query_text": "w", "positive_document_ids": ["1"], "negative_document_ids": ["2"]},
    "tevatron-v1": {"query_id": "q", "query": "w", "positive_passages": [{"docid": "1", "text": "a", "score": 1}]},
    "nemo-inline": {"query": "why", "pos_doc": ["lava"], "neg_doc": ["snow"]},
    "nixietune": {"query": "why", "doc": "lava", "neg": ["snow"]},
    "cohere": {"query": "why", "relevant_passages": ["lava"], "hard_negatives": ["snow"]},
    "ms-swift": {"messages": [{"content": "why"}], "positive_messages": [[{"content": "lava"}]]},
    "colbert-triples": [1, 2, 3],
    "colbert-examples": [1, [2, 0.5], [3, 0.25]],
    "colbert-scores": [1, [[0.5, 2], [0.25, 3]]],
}


def spoiled(value: Any) -> st.SearchStrategy[Any]:
    """A value of which any part is something else, or nothing."""
    if isinstance(value, dict) and value:
        return st.sampled_from(sorted(value)).flatmap(
            lambda name: (
                spoiled(value[name]).map(lambda part: {**value, name: part})
                | st.just({key: item for key, item in value.items() if key != name})
            )
        )
    if isinstance(value, list) and value:
        places = st.integers(0, len(value) - 1)
        return JUNK | places.flatmap(
            lambda n: spoiled(value[n]).map(lambda part: [*value[:n], part, *value[n + 1 :]])
        ) | places.map(lambda n: value[:n] + value[n + 1 :])  # fmt: skip
    return JUNK


def read_all(form: Format, path: Path) -> None:
    content = form.read(path)
    for part in (content.docs, content.queries, *content.qrels.values(), content.run, content.synthetic):
        if part:
            list(part())
    if content.examples:
        list(Source(content, path, documents=dict).examples(ids=False))


@quick
@pytest.mark.parametrize("name", ROWS)
@given(data=st.data())
def test_what_is_not_as_it_should_be_is_an_error_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: Any
) -> None:
    form = BY_NAME[name]
    path = tmp_path_factory.mktemp("j") / "file"
    read_all(form, put(path, ROWS[name]))
    put(path, *data.draw(st.permutations([ROWS[name], data.draw(spoiled(ROWS[name]))])))
    for action in (lambda: recognize(path), lambda: read_all(form, path)):
        try:
            action()
        except AcclimateError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)


@quick
@given(content=st.binary() | st.text('\t\n "[]{},:01a\ufeff\0').map(str.encode))
def test_bytes_of_no_format_are_an_error_of_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("b") / "file"
    path.write_bytes(content)
    for form in FORMATS:
        try:
            read_all(form, path)
        except AcclimateError as error:
            assert "\n" not in str(error)
    try:
        recognize(path)
    except AcclimateError as error:
        assert str(path) in str(error)


def test_the_page_has_every_format_and_says_which_are_only_read() -> None:
    page = (
        (Path(__file__).parents[1] / "docs" / "files.md").read_text(encoding="utf-8").partition("| format | of whom")[2]
    )
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    names = [name for line in rows for name in line.split("|")[1].replace("`", "").replace(" ", "").split(",")]
    assert names == [form.name for form in FORMATS]
    read_only = {line.split("`")[1] for line in rows if "*read only*" in line}
    assert read_only == {form.name for form in FORMATS if not form.write}
