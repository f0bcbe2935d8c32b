"""The other fields of documents: kept as they came, by every reader that meets them, and no part of any fingerprint."""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from acclimate.base.digests import seal
from acclimate.corpus import collections
from acclimate.corpus.documents import FORMAT, Corpus
from acclimate.corpus.formats import read_corpus
from acclimate.corpus.formats.folder import read_folder
from acclimate.corpus.formats.front_matter import front_matter
from acclimate.corpus.stored_fields import as_text, kept, of_text
from acclimate.deploy.updating.changes import Changes
from acclimate.records import Doc


def fields_of(path: Path, folder: Path) -> list[dict]:
    docs = read_folder(path) if path.is_dir() else read_corpus(path)
    return list(Corpus.build(docs, folder / "built.arrow").fields())


def test_keys_of_json_lines_are_kept_and_metadata_is_taken_apart(tmp_path):
    row = {"_id": "1", "title": "T", "text": "x", "year": 2020, "metadata": {"url": "http://a", "by": {"name": "Ann"}}}
    (tmp_path / "corpus.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"_id": "2", "text": "y"}) + "\n")
    assert fields_of(tmp_path / "corpus.jsonl", tmp_path) == [{"by.name": "Ann", "url": "http://a", "year": 2020}, {}]


def test_metadata_within_a_field_is_a_field_of_its_own():
    assert kept({"metadata": {"by": {"metadata": {"x": 1}}}, "x": 2}) == {"by.metadata.x": 1, "x": 2}


def test_columns_of_tables_are_kept(tmp_path):
    (tmp_path / "docs.csv").write_text("id,text,lang,price\n1,one,de,4.50\n2,two,,7\n")
    assert fields_of(tmp_path / "docs.csv", tmp_path) == [{"lang": "de", "price": "4.50"}, {"price": "7"}]
    others = {"tags": [["a", "b"]], "day": [date(2026, 11, 27)], "vector": [[0.1, 0.2]], "no": [None]}
    table = pa.table({"id": ["1"], "text": ["one"], **others})
    parquet.write_table(table, tmp_path / "docs.parquet")
    assert fields_of(tmp_path / "docs.parquet", tmp_path) == [{"day": "2026-11-27", "tags": ["a", "b"]}]


def test_front_matter_is_kept_and_stays_in_the_text(tmp_path):
    folder = tmp_path / "pages"
    folder.mkdir()
    text = "---\ntags: [pump, motor]\ndate: 2026-11-27\ndraft: false\n---\n# Pump\n\nIt pumps.\n"
    (folder / "pump.md").write_text(text)
    (folder / "plain.md").write_text("# Plain\n\nNothing.\n")
    assert fields_of(folder, tmp_path) == [{}, {"date": "2026-11-27", "draft": False, "tags": ["pump", "motor"]}]
    assert Corpus.open(tmp_path / "built.arrow")["pump.md"].text == text


@pytest.mark.parametrize(
    "content",
    [
        "no front matter",
        "---\nnever closed\n",
        "---\n- a list\n---\n",
        "---\n{broken: [\n---\n",
        "---\nday: 2026-02-31\n---\n",
        "---\n" + "a: &a [1]\n" + "".join(f"k{n}: [*a, *a]\n" for n in range(9)) + "---\n",
        "---\n" + "[" * 9000 + "\n---\n",
        "---\n!!python/object/apply:os.system ['true']\n---\n",
        "---\n" + "x" * 30_000 + "\n---\n",
    ],
    ids=lambda content: content[:20],
)
def test_front_matter_of_any_kind_gives_fields_or_none(content):
    assert kept(front_matter(content)).keys() <= {"a"}


@pytest.mark.parametrize("form", ["{{{keys}}}", "{{<<: [{refs}]}}"])
def test_front_matter_that_stands_for_billions_of_fields_takes_no_time(tmp_path, form):
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: {n}" for n in range(100)) + "}"]
    for depth in range(1, 5):
        refs = [f"*a{depth - 1}"] * 100
        keys = ", ".join(f"k{n}: {ref}" for n, ref in enumerate(refs))
        lines.append(f"a{depth}: &a{depth} " + form.format(keys=keys, refs=", ".join(refs)))
    (tmp_path / "a.md").write_text("\n".join(["---", *lines, "---", "text"]))
    started = time.process_time()
    corpus = Corpus.of(read_folder(tmp_path))
    assert time.process_time() - started < 2
    assert len(next(corpus.fields())) <= 100


def test_what_is_no_value_to_filter_by_is_left_out():
    values = {
        "long": "x" * 1001, "empty": "", "none": None, "nan": float("nan"), "bytes": b"x", "half": "\ud800",
        "nul": "\0", "huge": 1 << 70, "mixed": [1, None, [2], "a"], "deep": {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
        7: "no name", "nu\0l": 1, "half\ud800": 1,
    }  # fmt: skip
    assert of_text(as_text(kept(values))) == {"mixed": [1, "a"]}
    assert len(kept({f"f{n}": n for n in range(500)})) == 100


def test_no_fingerprint_is_of_fields(tmp_path):
    plain, rich = tmp_path / "plain.jsonl", tmp_path / "rich.jsonl"
    plain.write_text('{"_id": "1", "text": "x"}\n')
    rich.write_text('{"_id": "1", "text": "x", "year": 2020}\n')
    corpora = [Corpus.build(read_corpus(path), path.with_suffix(".arrow")) for path in (plain, rich)]
    assert corpora[0].fingerprint == corpora[1].fingerprint
    assert [corpus.fields_of("1") for corpus in corpora] == [{}, {"year": 2020}]
    assert corpora[1].fields_of("nothing") == {}
    assert [corpus.field_names for corpus in corpora] == [[], ["year"]]


def test_a_file_of_an_earlier_version_has_none_and_is_read_anew_where_its_source_is(tmp_path):
    """Its fingerprint stays, so nothing that was made of it is made again."""
    source = tmp_path / "corpus.jsonl"
    source.write_text('{"_id": "1", "text": "x", "year": 2020}\n')
    now = collections.load(source, tmp_path).corpus
    assert now.path
    with pa.ipc.open_file(str(now.path)) as file:
        batches = [file.get_batch_with_custom_metadata(n) for n in range(file.num_record_batches)]
        schema = pa.schema([*file.schema][:4])
        facts = json.loads(batches[-1][1][FORMAT.encode()])
        del facts["fields"]
        batches[-1] = (batches[-1][0], {FORMAT: json.dumps(facts)})
        with pa.ipc.new_file(str(tmp_path / "old.arrow"), schema) as writer:
            for batch, facts in batches:
                writer.write_batch(batch.select(schema.names), custom_metadata=facts)
    old = Corpus.open(tmp_path / "old.arrow")
    assert (list(old.fields()), old.fields_of("1"), old.field_names) == ([{}], {}, None)
    assert old.fingerprint == now.fingerprint
    assert old["1"] == now["1"] == Doc("1", "x")
    (tmp_path / "old.arrow").replace(now.path)
    seal(now.path)
    assert collections.load(source, tmp_path).corpus.fields_of("1") == {"year": 2020}


def test_documents_that_came_or_changed_bring_theirs_and_others_keep_theirs(tmp_path):
    def corpus(name, *rows):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Corpus.build(read_corpus(path), path.with_suffix(".arrow"))

    now = corpus("now", {"_id": "1", "text": "x", "year": 1}, {"_id": "2", "text": "y", "year": 2})
    new = corpus("new", {"_id": "2", "text": "z", "year": 3}, {"_id": "3", "text": "w", "lang": "de"})
    after = Corpus.build(Changes(now, new).documents_with_fields(), tmp_path / "after.arrow")
    assert dict(zip(after.ids, after.fields(), strict=True)) == {
        "1": {"year": 1},
        "2": {"year": 3},
        "3": {"lang": "de"},
    }
