"""What engines find in an export: what the run finds, whatever documents, ids and queries are like."""

from __future__ import annotations

import sqlite3

import pytest
from odd_exports import TEXTS, Odd, expected

from acclimate.deploy.exports import sqlite
from acclimate.deploy.exports.readers import sqlite as sqlite_reader

pytest.importorskip("torch", reason="torch is not installed")
SYSTEMS = ["hybrid", "hybrid:adapted", "hybrid:adapted of passages", "late-interaction", "sparse:adapted"]


@pytest.fixture(scope="module")
def odd(base, tmp_path_factory) -> Odd:
    return Odd(base, tmp_path_factory.mktemp("odd"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_sqlite_finds_what_the_run_finds_in_the_same_order(odd, tmp_path, name):
    source = odd.source(name)
    written = sqlite.write(source, tmp_path)
    search = sqlite_reader.open_index(tmp_path)
    assert {query: [row[0] for row in search(query)] for query in expected(source)} == expected(source)
    assert written.notes["check"]["overlap"] == 1.0
    with sqlite3.connect(tmp_path / "search.sqlite") as database:
        assert dict(database.execute("select id, text from documents")) == TEXTS


def test_sqlite_has_the_words_for_full_text_search_and_is_written_only_once(odd, tmp_path):
    source = odd.source("bm25")
    sqlite.write(source, tmp_path)
    before = (tmp_path / "search.sqlite").read_bytes()
    assert sqlite.write(source, tmp_path).counts["documents"] == len(TEXTS)
    assert (tmp_path / "search.sqlite").read_bytes() == before
    with sqlite3.connect(tmp_path / "search.sqlite") as database:
        select = "select id from words join documents on number = words.rowid where words match ?"
        assert {id for (id,) in database.execute(select, ('"molten rock"',))} == {"plain", "Plain"}
