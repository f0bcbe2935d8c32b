"""Exports to Elasticsearch and OpenSearch: what goes over the wire is what their documentation takes."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from odd_exports import TEXTS, Odd

from acclimate.base.errors import SettingError
from acclimate.base.text import printable
from acclimate.deploy.exports import elasticsearch, opensearch, readers
from acclimate.deploy.exports.postings import rounded
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import search_engines as reader

pytest.importorskip("torch", reason="torch is not installed")
ENGINES = pytest.mark.parametrize("engine", [elasticsearch, opensearch], ids=["elasticsearch", "opensearch"])


@pytest.fixture(scope="module")
def odd(base, tmp_path_factory) -> Odd:
    return Odd(base, tmp_path_factory.mktemp("odd"))


@contextmanager
def served(refuses=False):
    """An engine that keeps what it is sent."""
    requests: list[tuple[str, str, str]] = []

    class Engine(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            requests.append((self.command, self.path, body))
            n_docs = sum(body.count('{"index"') for _, path, body in requests if path.endswith("_bulk"))
            items = [{"index": {"error": "no room"}}] if refuses else []
            hit = {"_score": 0.5, "_source": {"document": "d", "title": "t", "text": "x"}}
            result = {"errors": refuses, "items": items, "count": n_docs, "hits": {"hits": [hit]}}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(result).encode())

        do_PUT = do_POST = do_GET = answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:secret@127.0.0.1:{server.server_port}", requests
    server.shutdown()


@ENGINES
def test_every_document_is_sent_with_the_run_s_own_weights_in_fields_that_the_mapping_has(odd, tmp_path, engine):
    source = odd.source("hybrid:adapted of passages")
    assert engine.write(source, tmp_path).counts["documents"] == len(TEXTS)
    with served() as (url, requests):
        assert reader.load(url, tmp_path) == len(TEXTS)
        assert reader.search(url, tmp_path, "lava and ash") == [("d", 0.5, "t", "x")]
    mapping = json.loads(requests[0][2])["mappings"]["properties"]
    lines = [
        json.loads(line) for _, path, body in requests if path.endswith("_bulk") for line in body.split("\n") if line
    ]
    rows = lines[1::2]
    assert {row["id"]: row["text"] for row in rows} == TEXTS
    assert all(row.keys() == mapping.keys() for row in rows)
    assert all("." not in word for row in rows for word in row["sparse_adapted"])
    index = odd.members["bm25"].index
    ids = list(TEXTS)
    for text in ("lava and ash", "rain in the desert"):
        words = QuerySide(tmp_path / "query")(text)["bm25"].terms
        scores = {row["id"]: sum(row["bm25"].get(word, 0) for word in words) for row in rows}
        assert [scores[doc_id] for doc_id in ids] == pytest.approx(index.scores(text).tolist(), abs=1e-4)


@ENGINES
def test_a_query_has_no_place_left_to_fill_and_parts_without_terms_find_nothing(odd, tmp_path, engine):
    source = odd.source("hybrid")
    engine.write(source, tmp_path)
    side = QuerySide(tmp_path / "query")
    body = json.dumps(reader.request_of(tmp_path, side, "lava and ash", 7))
    assert "{{" not in body
    assert json.loads(body)["size"] == 7
    assert '"match_none"' not in body
    assert '"match_none": {}' in json.dumps(reader.request_of(tmp_path, side, "..."))
    assert re.search(r'"rrf"', body + "".join(path.read_text() for path in tmp_path.glob("pipeline.json")))


def test_weights_are_those_of_the_members_that_the_engine_has(odd, tmp_path):
    elasticsearch.write(odd.source("hybrid:tuned"), tmp_path / "elasticsearch")
    query = json.loads((tmp_path / "elasticsearch" / "query.json").read_text())
    parts = query["retriever"]["linear"]["retrievers"]
    assert [(*part["retriever"], part["weight"]) for part in parts] == [("standard", 0.285714), ("knn", 0.714286)]
    opensearch.write(odd.source("hybrid:tuned"), tmp_path / "opensearch")
    (processor,) = json.loads((tmp_path / "opensearch" / "pipeline.json").read_text())["phase_results_processors"]
    assert sum(processor["normalization-processor"]["combination"]["parameters"]["weights"]) == 1
    with pytest.raises(SettingError, match="has no token vectors, and late-interaction uses nothing else"):
        opensearch.write(odd.source("late-interaction"), tmp_path / "other")


@pytest.mark.parametrize("name", ["hybrid", "dense", "bm25"])
def test_what_is_said_to_be_found_is_what_the_run_finds_where_the_engine_computes_the_same(odd, tmp_path, name):
    assert elasticsearch.write(odd.source(name), tmp_path).notes["expected"]["overlap"] == 1.0


def test_documents_that_an_engine_refuses_are_told(odd, tmp_path):
    opensearch.write(odd.source("bm25"), tmp_path)
    with (
        served(refuses=True) as (url, _),
        pytest.raises(SystemExit, match="1 document was refused; the first: no room"),
    ):
        reader.load(url, tmp_path)


@pytest.mark.parametrize(
    "address", ["localhost:9200", "nonsense", "http://[::1", "http://127.0.0.1:999999", "http://me:secret@127.0.0.1:1"]
)
def test_an_address_without_an_engine_is_said_without_its_password(address):
    with pytest.raises(SystemExit, match="expected the address of the engine: http://HOST:PORT") as raised:
        reader.ask(address, "GET", "/", None)
    assert str(raised.value).startswith(address.replace("http://me:secret@", ""))


def test_readers_say_how_they_are_used_and_print_nothing_that_a_terminal_obeys(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["search.py"])
    with pytest.raises(SystemExit, match=r"python search\.py http://localhost:9200"):
        readers.arguments(reader.__doc__, 1, 2)
    readers.show((doc_id, 0.5, f"\x1b[2J{text}", text) for doc_id, text in TEXTS.items())
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 2 * len(TEXTS) + 1
    assert all(line == printable(line) for line in lines)


def test_no_weight_of_a_word_becomes_nothing():
    weights = np.array([1e-9, 0.1, 3.14159265], np.float32)
    assert rounded(weights) == [1e-9, 0.1, 3.141593]
