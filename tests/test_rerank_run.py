"""A run re-ranked by a scorer: its order, its scores, and what lies deeper below them; a killed command goes on."""

from __future__ import annotations

import json
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import write_cross_encoder

import acclimate
from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import DOCS, FakeScorer
from acclimate.cli.main import main
from acclimate.corpus import formats
from acclimate.corpus.formats import trec
from acclimate.corpus.formats.trec import escaped
from acclimate.records import Query, ScoredDoc
from acclimate.search import rerank_run
from acclimate.search.scorers.pairs import PairScorer

QUERIES = {f"q{n}": Query(f"q{n}", f"query {n}") for n in range(3)}
scores = st.floats(-(2.0**100), 2.0**100)


@given(
    st.dictionaries(st.sampled_from(sorted(QUERIES)), st.dictionaries(st.sampled_from("abcdefgh"), scores, min_size=1)),
    st.dictionaries(st.sampled_from("abcdefgh"), scores),
    st.integers(1, 9),
)
@settings(deadline=None, max_examples=60)
def test_the_head_is_the_scorer_s_and_the_tail_as_it_was_below_it(run, rating, depth):
    hits = [ScoredDoc(query_id, doc_id, score) for query_id, of in run.items() for doc_id, score in of.items()]
    scorer = FakeScorer(lambda text, doc_id: rating.get(doc_id, 0.0))
    result = list(rerank_run.rerank_run(hits, QUERIES, scorer, depth=depth))
    by_query = {query_id: list(of) for query_id, of in groupby(result, key=lambda hit: hit.query_id)}
    assert list(by_query) == list(run)
    for query_id, of in run.items():
        before = sorted(of, key=lambda doc_id: (-of[doc_id], doc_id))
        head, tail = by_query[query_id][:depth], by_query[query_id][depth:]
        assert [hit.doc_id for hit in head] == sorted(
            before[:depth], key=lambda doc_id: (-rating.get(doc_id, 0), doc_id)
        )
        assert [hit.score for hit in head] == [rating.get(hit.doc_id, 0.0) for hit in head]
        assert [hit.doc_id for hit in tail] == before[depth:]
        below = [head[-1].score, *(hit.score for hit in tail)]
        assert below == sorted(set(below), reverse=True)


def test_a_score_that_is_no_number_is_said_with_query_and_document():
    with pytest.raises(DataError, match="query 'q0': the score of document 'a' is nan"):
        list(rerank_run.rerank_run([ScoredDoc("q0", "a", 1.0)], QUERIES, FakeScorer(lambda *_: float("nan")), depth=1))


@pytest.fixture
def files(tmp_path, tiny_encoder):
    """A reranker, a BEIR folder without judgments, and a run of its first queries."""
    write_cross_encoder(tmp_path / "reranker", tiny_encoder)
    (tmp_path / "beir").mkdir()
    formats.write_corpus(tmp_path / "beir" / "corpus.jsonl", DOCS)
    queries = [Query(f"q{n}", DOCS[n].title) for n in range(3)]
    formats.write_queries(tmp_path / "beir" / "queries.jsonl", queries)
    hits = [ScoredDoc(query.query_id, doc.doc_id, -float(at)) for query in queries for at, doc in enumerate(DOCS[:30])]
    trec.write_run(tmp_path / "run.trec", hits)
    return tmp_path


def test_a_killed_command_goes_on_and_comes_to_the_same_bytes(files, monkeypatch, capsys):
    arguments = [str(files / "run.trec"), str(files / "reranker"), "--corpus", str(files / "beir"), "--depth", "20"]
    assert main(["rerank", *arguments]) == 0
    whole = capsys.readouterr().out
    lines = [line.split("\t") for line in whole.splitlines()]
    assert len(lines) == 90
    assert {line[5] for line in lines} == {escaped(str(files / "reranker"))}
    model = acclimate.rerank(
        files / "run.trec", f"cross-encoder:{files / 'reranker'}", files / "named.trec", corpus=files / "beir", depth=20
    )
    assert [line.split("\t")[:5] for line in model.read_text().splitlines()] == [line[:5] for line in lines]

    asked: list[int] = []
    score_calls = PairScorer.score_calls

    def dying(self, calls):
        def counted():
            for pairs in calls:
                if len(asked) == 3:
                    raise KeyboardInterrupt
                asked.append(len(pairs))
                yield pairs

        return score_calls(self, counted())

    monkeypatch.setattr(rerank_run, "_AT_ONCE", 7)
    monkeypatch.setattr(PairScorer, "score_calls", dying)
    out = files / "out.trec"
    with pytest.raises(KeyboardInterrupt):
        acclimate.rerank(*arguments[:2], out, corpus=arguments[3], depth=20)
    assert not out.exists()
    assert (files / "out.trec.partial").is_dir()
    asked[:] = [0] * 4  # never dies again
    assert acclimate.rerank(*arguments[:2], out, corpus=arguments[3], depth=20) == out
    assert sum(asked) == 3 * 20 - (7 + 7 + 6)  # the first query was kept
    monkeypatch.setattr(PairScorer, "score_calls", score_calls)
    fresh = acclimate.rerank(*arguments[:2], files / "fresh.trec", corpus=arguments[3], depth=20)
    assert out.read_bytes() == fresh.read_bytes()
    assert sorted(path.name for path in files.iterdir() if "partial" in path.name) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q9 Q0 {doc} 1 1 t", "1 of its queries have no text among the queries (--queries), the first is 'q9'"),
        ("q0 Q0 nothing 1 1 t", "1 of its documents have no text in the corpus (--corpus), the first is 'nothing'"),
        ("", "no line in this file"),
    ],
)
def test_what_has_no_text_is_said_before_a_model_is_loaded(files, monkeypatch, line, message):
    monkeypatch.setattr(PairScorer, "score", None)
    (files / "bad.trec").write_text(line.format(doc=DOCS[0].doc_id) + "\n")
    with pytest.raises(DataError) as caught:
        acclimate.rerank(files / "bad.trec", files / "reranker", files / "out", corpus=files / "beir")
    assert message in str(caught.value)
    assert not (files / "out.partial").exists()


def test_a_model_that_rates_nothing_and_a_corpus_without_queries_are_mistakes(files, tiny_encoder):
    run, out = files / "run.trec", files / "out"
    with pytest.raises(SettingError, match="not trained to score"):
        acclimate.rerank(run, tiny_encoder, out, corpus=files / "beir")
    with pytest.raises(SettingError, match="has no queries; expected a collection with queries"):
        acclimate.rerank(run, files / "reranker", out, corpus=files / "beir" / "corpus.jsonl")
    with pytest.raises(SettingError, match="depth is 0"):
        acclimate.rerank(run, files / "reranker", out, corpus=files / "beir", depth=0)
    with pytest.raises(DataError, match="is a directory, a pipe or a device; expected a file"):
        acclimate.rerank(run, files / "reranker", files, corpus=files / "beir")
    rows = [{"_id": query_id, "text": "lava"} for query_id in ("q0", "q1", "q2")]
    (files / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    acclimate.rerank(
        run, files / "reranker", out, corpus=files / "beir" / "corpus.jsonl", queries=files / "own.jsonl", depth=2
    )
    assert len(out.read_text().splitlines()) == 90
    (files / "topics.tsv").write_text("".join(f"{query_id}\tlava\n" for query_id in ("q0", "q1", "q2")))
    other = acclimate.rerank(
        run, files / "reranker", files / "2", corpus=files / "beir", queries=files / "topics.tsv", depth=2
    )
    assert other.read_bytes() == out.read_bytes()
    rows = [{"query_id": query_id, "doc_id": "d", "query": "lava"} for query_id in ("q0", "q1", "q2")]
    (files / "synthetic.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = acclimate.rerank(
        run, files / "reranker", files / "3", corpus=files / "beir", queries=files / "synthetic.jsonl", depth=2
    )
    assert other.read_bytes() == out.read_bytes()
