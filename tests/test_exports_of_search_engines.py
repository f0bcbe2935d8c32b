"""Exports to Elasticsearch and OpenSearch, against a server that refuses what OpenSearch was seen to refuse."""

from __future__ import annotations

import io
import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from odd_exports import TEXTS, Odd
from strict_engine import error, served

from acclimate.base.errors import SettingError
from acclimate.base.text import printable
from acclimate.deploy.exports import elasticsearch, opensearch, readers
from acclimate.deploy.exports.postings import kept, rounded
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import search_engines as reader

pytest.importorskip("torch", reason="torch is not installed")
ENGINES = pytest.mark.parametrize("engine", [elasticsearch, opensearch], ids=["elasticsearch", "opensearch"])


@pytest.fixture(scope="module")
def odd(base, tmp_path_factory) -> Odd:
    return Odd(base, tmp_path_factory.mktemp("odd"))


@ENGINES
def test_every_document_is_sent_with_the_run_s_own_weights_in_fields_that_the_mapping_has(odd, tmp_path, engine):
    source = odd.source("hybrid:adapted of passages")
    assert engine.write(source, tmp_path).counts["documents"] == len(TEXTS)
    with served() as (url, server):
        assert reader.load(url, tmp_path) == len(TEXTS)
        assert reader.search(url, tmp_path, "lava and ash") == [("d", 0.5, "t", "x")]
    rows, mapping = server.rows, server.mapping
    assert mapping is not None
    assert {row["id"]: row["text"] for row in rows} == TEXTS
    assert all(row.keys() == mapping.keys() for row in rows)
    index = odd.members["bm25"].index
    ids = list(TEXTS)
    for text in ("lava and ash", "rain in the desert"):
        words: Any = QuerySide(tmp_path / "query")(text)["bm25"]
        scores = {row["id"]: sum(row["bm25"].get(word, 0) for word in words.terms) for row in rows}
        assert [scores[doc_id] for doc_id in ids] == pytest.approx(index.scores(text).tolist(), rel=1 / 512)


@ENGINES
def test_nothing_is_sent_that_an_engine_refuses(base, tmp_path, engine):
    words = " ".join(f"lava{n}" for n in range(3000))
    texts = {"word": f"lava {'z' * 40_000} {'é' * 30_000} v1.2", "i" * 40_000: "lava", "empty": "", "words": words}
    source = Odd(base, tmp_path / "odd", texts).source("hybrid:adapted")
    engine.write(source, tmp_path / "export")
    queries = "lava " * 100, words, "z" * 40_000, "", "..."
    with served() as (url, _):
        assert reader.load(url, tmp_path / "export") == len(texts)
        for query in queries:
            assert reader.search(url, tmp_path / "export", query)


def test_a_bulk_file_is_sent_in_requests_that_services_accept(odd, tmp_path, monkeypatch):
    opensearch.write(odd.source("bm25"), tmp_path)
    monkeypatch.setattr(reader, "_BULK_BYTES", 5000)
    with served() as (url, engine):
        assert reader.load(url, tmp_path) == len(TEXTS)
    sizes = [len(body) for _, path, body in engine.requests if path.endswith("_bulk")]
    assert len(sizes) > 2
    assert len([size for size in sizes if size > 10_000]) == 1  # the long document


@ENGINES
def test_a_query_has_no_place_left_to_fill_and_parts_without_terms_find_nothing(odd, tmp_path, engine):
    source = odd.source("hybrid")
    engine.write(source, tmp_path)
    side = QuerySide(tmp_path / "query")
    body = json.dumps(reader.request_of(tmp_path, side, "lava and ash", 7))
    assert "{{" not in body
    assert json.loads(body)["size"] == 7
    assert '"match_none"' not in body
    assert json.dumps(reader.request_of(tmp_path, side, "...")).count('"match_none": {}') == 1
    unknown = {"bm25": SimpleNamespace(terms=[], weights=[]), "dense": np.zeros(3, np.float32)}
    assert json.dumps(reader.request_of(tmp_path, lambda _: unknown, "?")).count('"match_none": {}') == 2
    assert re.search(r'"rrf"', body + "".join(path.read_text() for path in tmp_path.glob("pipeline.json")))


@ENGINES
@pytest.mark.parametrize("name", ["hybrid", "bm25"])
def test_a_document_is_found_once_though_an_engine_may_find_several_of_its_passages(odd, tmp_path, engine, name):
    engine.write(odd.source(f"{name} of passages"), tmp_path)
    hits = [("a", 0.9), ("b", 0.8), ("a", 0.7), ("c", 0.6)]
    with served(hits=hits) as (url, server):
        reader.load(url, tmp_path)
        assert [found[:2] for found in reader.search(url, tmp_path, "lava", 3)] == [*hits[:2], hits[3]]
    body = json.loads(server.requests[-1][2])
    # OpenSearch collapses no hybrid query before version 3.1: there every candidate is fetched.
    is_collapsed = engine is elasticsearch or name == "bm25"
    assert (body.get("collapse"), body["size"]) == (({"field": "document"}, 3) if is_collapsed else (None, 60))


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


def test_an_index_of_opensearch_has_one_shard_as_it_fuses_ranks_in_each(odd, tmp_path):
    opensearch.write(odd.source("hybrid"), tmp_path)
    assert json.loads((tmp_path / "mapping.json").read_text())["settings"]["index.number_of_shards"] == 1


def test_elasticsearch_is_told_to_keep_whole_vectors(odd, tmp_path):
    elasticsearch.write(odd.source("dense"), tmp_path)
    mapping = json.loads((tmp_path / "mapping.json").read_text())["mappings"]["properties"]["dense"]
    assert mapping["index_options"] == {"type": "hnsw"}


# A tie of the run is in the order of ids, of an engine in the order of loading.
@pytest.mark.parametrize(("name", "least"), [("hybrid", 0.99), ("dense", 1.0), ("bm25", 0.99)])
def test_what_is_said_to_be_found_is_what_the_run_finds_where_the_engine_computes_the_same(odd, tmp_path, name, least):
    assert elasticsearch.write(odd.source(name), tmp_path).notes["expected"]["overlap"] >= least


def test_scores_are_simulated_as_the_engines_compute_them():
    cosines, scores, equal = (np.array(values, np.float32) for values in ([-1, 0, 1], [4, 3, 2], [2, 2]))
    assert opensearch.ENGINE.similarity(cosines).tolist() == [0.5, 1, 2]
    assert elasticsearch.ENGINE.similarity(cosines).tolist() == [0, 0.5, 1]
    assert opensearch.ENGINE.min_max(scores).tolist() == pytest.approx([1, 0.5, 0.001])
    assert elasticsearch.ENGINE.min_max(scores).tolist() == [1, 0.5, 0]
    assert opensearch.ENGINE.min_max(equal).tolist() == [1, 1]
    assert elasticsearch.ENGINE.min_max(equal).tolist() == [2, 2]


def test_weights_are_rounded_to_what_the_engines_would_cut_them_to():
    weights = np.random.default_rng(0).uniform(1e-6, 30, 1000).astype(np.float32)
    cut = (kept(weights).view(np.uint32) >> 15 << 15).view(np.float32)
    assert np.array_equal(cut, kept(weights))
    assert abs(cut / weights - 1).max() <= 1 / 512


def test_documents_that_an_engine_refuses_are_told(odd, tmp_path):
    opensearch.write(odd.source("bm25"), tmp_path)
    path = tmp_path / "bulk" / "bulk-00000-0000.ndjson"
    path.write_text(path.read_text().replace('"bm25": {', '"bm25": {"a.b": 1, ', 1))
    with (
        served() as (url, _),
        pytest.raises(
            SystemExit, match="1 document was refused: illegal_argument_exception: fields do not support dots"
        ),
    ):
        reader.load(url, tmp_path)


def test_what_an_engine_refuses_is_said_with_what_to_do(odd, tmp_path, monkeypatch):
    opensearch.write(odd.source("hybrid"), tmp_path)
    with served() as (url, engine):
        address = url.replace("me:secret@", "")
        with pytest.raises(
            SystemExit, match=rf"no such index \[acclimate\]; load it first: python search.py {address}$"
        ):
            reader.search(url, tmp_path, "lava")
        reader.load(url, tmp_path)
        with pytest.raises(SystemExit, match=rf"already exists; to remove it: curl -X DELETE {address}/acclimate$"):
            reader.load(url, tmp_path)
        monkeypatch.setattr(engine, "answer", lambda *_: (401, "Unauthorized"))
        with pytest.raises(SystemExit, match="a name and a password go into the address"):
            reader.load(url, tmp_path)
        monkeypatch.setattr(engine, "answer", lambda *_: (400, {"error": "no handler found for uri [/a]"}))
        with pytest.raises(SystemExit, match=r"400 no handler found for uri \[/a\]; expected OpenSearch 2.19 or later"):
            reader.load(url, tmp_path)
        refused = error(400, "[hybrid] query does not support [x]", "parsing_exception")
        monkeypatch.setattr(engine, "answer", lambda *_: refused)
        with pytest.raises(SystemExit, match=r"not support \[x\]; expected OpenSearch 2\.19 or later"):
            reader.search(url, tmp_path, "lava")
        unlicensed = error(403, "current license is non-compliant for [RRF]", "security_exception")
        monkeypatch.setattr(engine, "answer", lambda *_: unlicensed)
        with pytest.raises(SystemExit, match=r"for \[RRF\]; the systems bm25 and dense need none"):
            reader.search(url, tmp_path, "lava")


@pytest.mark.parametrize("plugins", [(), ("k-NN",), ("neural-search",)])
def test_an_engine_without_its_plugins_is_said_to_need_them(odd, tmp_path, plugins):
    opensearch.write(odd.source("hybrid"), tmp_path)
    with (
        served(plugins=plugins) as (url, engine),
        pytest.raises(SystemExit, match=r"expected OpenSearch 2\.19 or later with its plugins k-NN and neural-search$"),
    ):
        reader.load(url, tmp_path)
    assert engine.mapping is None  # the load can be repeated


@pytest.mark.parametrize(
    "address", ["localhost:9200", "nonsense", "http://[::1", "http://127.0.0.1:999999", "http://me:secret@127.0.0.1:1"]
)
def test_an_address_without_an_engine_is_said_without_its_password(address):
    with pytest.raises(SystemExit, match="expected the address of the engine: http://HOST:PORT") as raised:
        reader.ask(address, "GET", "/", None)
    assert str(raised.value).startswith(address.replace("http://me:secret@", ""))


def test_a_request_goes_to_the_address_without_its_login(monkeypatch):
    def answered(request, timeout):
        assert request.headers["Authorization"] == "Basic bWU6YSBi"  # me:a b
        return io.BytesIO(json.dumps({"url": request.full_url}).encode())

    monkeypatch.setattr("urllib.request.urlopen", answered)
    for address in ("http://{}127.0.0.1:9200", "https://{}search.example/a", "http://{}[::1]:9200/", "http://{}[::1]"):
        url = reader.ask(address.format("me:a%20b@"), "GET", "/_count", None)["url"]
        assert url == address.format("").rstrip("/") + "/_count"


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
