"""acclimate convert: what a file is, is told by what is in it; what published files and the command need."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from conversions import DOCS, put, refusal

import acclimate
from acclimate.corpus.formats import read_any_nway, read_any_synthetic
from acclimate.corpus.formats.content import Example
from acclimate.corpus.formats.registry import BY_NAME, FORMATS, recognize
from acclimate.records import Doc, NWay, Query

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
    assert "could be documents or queries; give which with --from" in refusal(
        lambda: recognize(put(tmp_path / "x", *rows))
    )
    assert recognize(put(tmp_path / "corpus.jsonl", *rows)).name == "documents"
    assert recognize(put(tmp_path / "my-queries.jsonl", *rows)).name == "queries"


@pytest.mark.parametrize("rows", [[{"_id": "1", "text": "lava"}], [{"body": "snow"}]])
def test_only_convert_is_told_a_format_and_others_say_what_they_expect(tmp_path: Path, rows: list[dict]) -> None:
    path, corpus = put(tmp_path / "x", *rows), {"d": Doc("d", "lava")}
    assert "with --from FORMAT" in refusal(
        lambda: acclimate.convert(path, tmp_path / "y.jsonl", target_format="queries")
    )
    expected = "expected synthetic queries with the documents that they were written for or a collection"
    assert expected in refusal(lambda: read_any_synthetic(path))
    assert "expected training examples: queries with positives" in refusal(lambda: read_any_nway(path, corpus))


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
        ({"query_id": "q", "doc_ids": ["1", "2"], "scores": [1, -1e300]}, "expected a number from -1e15 to 1e15"),
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
    known = put(tmp_path / "k.jsonl", {"query_id": "q", "query": "why", "doc_ids": ["1", "2"]})
    assert [query.text for query in read_any_nway(known, DOCS).queries] == ["why"]
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
    assert "has another text earlier" in refusal(lambda: read_any_nway(put(tmp_path / "t.jsonl", *rows), DOCS))


def test_ids_that_are_no_line_numbers_are_numbered_by_colberts_folder_alone(tmp_path: Path) -> None:
    path = put(tmp_path / "n.jsonl", {"query_id": "q", "doc_ids": ["01", "2"]})
    assert "training examples with --to colbert: these number them" in refusal(
        lambda: acclimate.convert(path, tmp_path / "t.json", target_format="colbert-triples")
    )
    corpus = put(tmp_path / "corpus.jsonl", {"_id": "2", "text": "a\nb"}, {"_id": "01", "text": "c"})
    queries = put(tmp_path / "queries.jsonl", {"_id": "q", "text": "why"})
    acclimate.convert(path, tmp_path / "c", target_format="colbert", corpus=corpus, queries=queries)
    assert (tmp_path / "c/collection.tsv").read_text() == "0\ta b\n1\tc\n"
    assert (tmp_path / "c/triples.json").read_text() == "[0, 1, 0]\n"
    assert (tmp_path / "c/collection.ids.tsv").read_text() == "0\t2\n1\t01\n"
    assert read_any_nway(tmp_path / "c", {"2": Doc("2", ""), "01": Doc("01", "")}).examples == [NWay("q", ("01", "2"))]


@pytest.mark.parametrize("name", ["colbert-triples", "colbert-examples", "colbert"])
@pytest.mark.parametrize("has_scores", [False, True])
def test_what_colbert_reads_once_in_its_order_is_in_random_order(tmp_path: Path, name: str, has_scores: bool) -> None:
    """Of every 32 triples or lists, its batch, more than half have a query of their own."""
    lists = [{"query_id": str(n // 8), "doc_ids": ["0", str(n % 8 + 1)]} for n in range(320)]
    path = put(tmp_path / "n.jsonl", *(row | ({"scores": [2, 1]} if has_scores else {}) for row in lists))
    corpus = put(tmp_path / "corpus.jsonl", *({"_id": str(n), "text": f"d{n}"} for n in range(9)))
    queries = put(tmp_path / "queries.jsonl", *({"_id": str(n), "text": f"q{n}"} for n in range(40)))
    files = [tmp_path / folder for folder in ("one", "two")]
    for file in files:
        acclimate.convert(path, file, target_format=name, corpus=corpus, queries=queries)
    if name == "colbert":
        files = [file / ("examples.json" if has_scores else "triples.json") for file in files]
    rows = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert len(rows) == len({json.dumps(row) for row in rows}) == 320
    assert all(len({row[0] for row in rows[start : start + 32]}) > 16 for start in range(0, 320, 32))
    assert files[0].read_bytes() == files[1].read_bytes()


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
