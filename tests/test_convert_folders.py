"""acclimate convert: folders, tables and data sets, and what of them is refused or counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conversions import DOCS, put, refusal

import acclimate
from acclimate.corpus import hub
from acclimate.corpus.formats import read_any_nway, read_any_synthetic
from acclimate.corpus.formats.registry import BY_NAME, recognize


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
    (lotte / "qas.search.jsonl").rename(lotte / "qas.jsonl")  # a name without a kind, as UDAPDR's
    acclimate.convert(lotte, tmp_path / "new")
    assert {file.name for file in (tmp_path / "new/qrels").iterdir()} == {"forum.tsv", "test.tsv"}


@pytest.mark.parametrize("line", ["0\td0\td1\n", "0\td0\n0\td1\n"])
def test_a_number_has_one_id(tmp_path: Path, line: str) -> None:
    (tmp_path / "collection.tsv").write_text("0\tlava erupts\n")
    (tmp_path / "questions.search.tsv").write_text("0\twhy\n")
    put(tmp_path / "qas.search.jsonl", {"qid": 0, "query": "why", "answer_pids": [0]})
    (tmp_path / "collection.ids.tsv").write_text(line)
    said = refusal(lambda: acclimate.convert(tmp_path, tmp_path / "beir"))
    assert said.startswith(f"{tmp_path / 'collection.ids.tsv'}:{line.count(chr(10))}: ")


def test_queries_of_lotte_that_have_an_id_in_common_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "collection.tsv").write_text("0\tlava erupts\n1\tsnow creeps\n")
    for kind in ("search", "forum"):
        put(tmp_path / "dev" / f"qas.{kind}.jsonl", {"qid": 0, "query": f"why {kind}", "answer_pids": [1]})
    message = refusal(lambda: acclimate.convert(tmp_path / "dev", tmp_path / "beir"))
    assert "'0' is one of forum, too; convert one of the files, such as qas.search.jsonl, with --corpus" in message
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
    (tmp_path / "docs" / "queries.md").write_text("Snow creeps.")  # a text, whatever its name
    (tmp_path / "docs" / "prices.csv").write_text("name,price\na,1\n")  # no document, and passed over
    acclimate.convert(tmp_path / "docs", tmp_path / "corpus.jsonl")
    assert [json.loads(line)["_id"] for line in (tmp_path / "corpus.jsonl").open()] == ["deep/a.md", "queries.md"]
    pairs = put(tmp_path / "p.jsonl", {"query": "why", "pos": ["Lava It erupts."]})
    acclimate.convert(pairs, tmp_path / "nway.jsonl", corpus=tmp_path / "docs")
    assert json.loads((tmp_path / "nway.jsonl").read_text())["doc_ids"] == ["deep/a.md"]


def test_a_folder_of_unknown_data_is_not_read_for_the_text_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("# About\n\nthis data\n")
    put(tmp_path / "data" / "part.jsonl", {"colour": 1})
    assert "unknown format" in refusal(lambda: acclimate.convert(tmp_path / "data", tmp_path / "corpus.jsonl"))


def test_synthetic_queries_beside_the_judgments_of_others_are_themselves(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n9\t9\t1\n")
    (query,) = read_any_synthetic(put(tmp_path / "queries.jsonl", {"doc_id": "1", "query": "why"}))
    assert query[1:3] == ("why", "1")


def test_a_saved_data_set_and_a_table_are_read_as_json_lines_are(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"anchor": "why", "positive": "lava erupts", "negative_1": "deep sea", "label": [2.0, 1.0]}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "x")
    for path in (tmp_path / "saved", tmp_path / "x", put(tmp_path / "y", *rows)):
        assert read_any_nway(path, DOCS).examples[0][1:3] == (("1", "3"), (2.0, 1.0))


def test_tables_of_text_have_numbers_and_lists(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("query,positive,negative,label\nwhy,lava erupts,snow creeps,1.5\n")
    (row,) = BY_NAME["columns-scores"].read(tmp_path / "train.csv").examples()
    assert row.record.scores == (0, -1.5)
    (tmp_path / "queries.csv").write_text('doc_id,query,log_probs\n1,why,"[-0.5, -1.5]"\n')
    (query,) = read_any_synthetic(tmp_path / "queries.csv")
    assert query.log_probs == (-0.5, -1.5)


def test_shards_of_several_splits_are_not_one_data_set(tmp_path: Path) -> None:
    for split in ("test", "train"):
        put(tmp_path / f"{split}-00000-of-00001.jsonl", {"anchor": "why", "positive": f"in {split}"})
    message = refusal(lambda: recognize(tmp_path))
    assert message == f"{tmp_path}: holds the splits test and train; name a file, or put those of one into a folder"
    assert recognize(tmp_path / "train-00000-of-00001.jsonl").name == "columns"


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

    asked: list[Any] = []
    (tmp_path / "sci.fact").mkdir()
    put(tmp_path / "sci.fact" / "queries", {"doc_id": "1", "query": "why"})

    def downloaded(name: str, **options: Any) -> str:
        asked.append((name, options["allow_patterns"], options["revision"]))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", downloaded)
    acclimate.convert("hf:inpars/all@main/sci.fact/queries", tmp_path / "out", target_format="synthetic")
    assert asked == [("inpars/all", ["sci.fact/queries", "sci.fact/queries/*"], "main")]
    assert (tmp_path / "out").exists() and hub.download("hf:inpars/all/sci.fact/") == tmp_path / "sci.fact"
    assert "has no sci.fact/q.jsonl" in refusal(lambda: hub.download("hf:inpars/all/sci.fact/q.jsonl"))
    monkeypatch.undo()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "the data set could not be downloaded" in refusal(lambda: hub.download("hf:a/b/c.jsonl"))
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
        assert "id '1' appears twice" in message
    twice = put(tmp_path / "t.jsonl", *({"query_id": "q", "doc_id": "1", "query": text} for text in "ab"))
    assert "has another text earlier" in refusal(
        lambda: acclimate.convert(twice, tmp_path / "o", target_format="queries")
    )


@pytest.mark.parametrize("name", ["documents", "documents-tsv"])
def test_documents_with_one_id_are_refused_and_no_folder_is_left(tmp_path: Path, name: str) -> None:
    twice = put(tmp_path / "corpus.jsonl", *({"_id": "1", "title": "", "text": text} for text in "ab"))
    target = tmp_path / "new" / "deeper" / "out"
    assert "id '1' appears twice" in refusal(lambda: acclimate.convert(twice, target, target_format=name))
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_where_nothing_can_be_written_one_line_says_so(tmp_path: Path) -> None:
    corpus = put(tmp_path / "corpus.jsonl", {"_id": "1", "title": "", "text": "a"})
    assert "nothing can be written here" in refusal(lambda: acclimate.convert(corpus, "/proc/out.jsonl"))


@pytest.mark.parametrize(
    ("margin", "expected"),
    [("nan", "a finite number"), ("-inf", "a finite number"), ("1e16", "a number from -1e15 to 1e15")],
)
def test_a_margin_that_is_no_number_is_no_document(tmp_path: Path, margin: str, expected: str) -> None:
    (tmp_path / "gpl.tsv").write_text(f"q\td1\td2\t1.5\nq\td1\td3\t{margin}\n")
    message = refusal(lambda: acclimate.convert(tmp_path / "gpl.tsv", tmp_path / "out.jsonl"))
    assert "gpl.tsv:2: 'margin' is" in message and message.endswith(f"; expected {expected}")


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
    (tmp_path / "old.tsv").write_text("stays")
    for target in (tmp_path / "old.tsv", tmp_path / "t.tsv"):
        message = refusal(lambda target=target: acclimate.convert(path, target))
        assert message.endswith("written as triples-ids; examples left out that have no negative: 1")
    assert "is not a folder" in refusal(lambda: acclimate.convert(path, tmp_path / "old.tsv", target_format="gpl"))
    assert ((tmp_path / "old.tsv").read_text(), (tmp_path / "t.tsv").exists()) == ("stays", False)


@pytest.mark.parametrize(
    ("row", "texts", "scores"),
    [
        ({"anchor": "why", "positive": "lava", "negatives": ["snow", "ice"]}, ("lava", "snow", "ice"), ()),
        ({"query": "why", "positive": "lava", "negatives": '["snow"]'}, ("lava", "snow"), ()),
        ({"query": "why", "positive": "lava", "negative": ["snow"], "label": [3, 1]}, ("lava", "snow"), (3, 1)),
        ({"query": "why", "positive": "lava", "hard_negative_1": "snow"}, ("lava", "snow"), ()),
        ({"sentence1": "why", "sentence2": "lava"}, ("lava",), ()),
        ({"sentence1": "why", "sentence2": "lava", "score": 0.7}, ("lava",), (0.7,)),
    ],
)
def test_no_text_of_a_row_is_passed_over(
    row: dict[str, Any], texts: tuple[str, ...], scores: tuple[float, ...], tmp_path: Path
) -> None:
    path = put(tmp_path / "train.jsonl", row)
    (example,) = recognize(path).read(path).examples()
    assert (example.record.query, example.record.texts, example.record.scores) == ("why", texts, scores)


def test_the_train_table_of_pylate_stands_for_itself(tmp_path: Path) -> None:
    path = put(tmp_path / "train.jsonl", {"query_id": 7, "document_ids": ["1", "3"], "scores": [0.9, 0.1]})
    (example,) = recognize(path).read(path).examples()
    assert (example.record.query_id, example.record.doc_ids, example.record.scores) == ("7", ("1", "3"), (0.9, 0.1))
