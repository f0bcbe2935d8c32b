"""Counts of terms, from which a changed corpus is indexed, and how much new documents differ from those before."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from chain import documents_of, write_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

import acclimate
from acclimate.corpus.analyzer import Analyzer
from acclimate.deploy.updating import drift
from acclimate.records import Doc, Query
from acclimate.search.bm25 import BM25
from acclimate.search.members import Ids
from acclimate.search.term_counts import TermCounts

ANALYZER = Analyzer("none")
TEXTS = st.lists(
    st.lists(st.sampled_from("ash lava tide moon ice".split()), max_size=5).map(" ".join), min_size=1, max_size=6
)


@settings(max_examples=30)
@given(TEXTS, TEXTS, st.randoms())
def test_counts_of_parts_that_are_put_together_are_the_index_of_all_texts(first, second, rng):
    texts = [*first, *second]
    rows = rng.sample(range(len(texts)), rng.randint(1, len(texts)))
    counts = TermCounts.of(first, ANALYZER).concat(TermCounts.of(second, ANALYZER)).select(np.array(rows))
    found = counts.bm25(ANALYZER, k1=0.9, b=0.4)
    expected = BM25.build([texts[row] for row in rows], language="none")
    for query in ("ash", "lava tide", "moon ice ice", ""):
        assert found.scores(query).tobytes() == expected.scores(query).tobytes()


@settings(max_examples=30)
@given(TEXTS, st.data())
def test_a_word_is_new_where_no_other_old_document_has_it(texts, data):
    came = data.draw(st.lists(st.integers(0, len(texts) - 1), unique=True, min_size=1))
    old = [row for row in range(len(texts)) if row not in came]

    def share(row):
        others = " ".join(texts[other] for other in old if other != row).split()
        words = texts[row].split()
        return sum(word not in others for word in words) / len(words) if words else None

    found = drift._new_words(TermCounts.of(texts, ANALYZER), np.array(came))
    for rows, shares in ((came, found[0]), (old or [None], found[1])):
        assert len(shares) == len(rows)
        for row, value in zip(rows, shares, strict=True):
            expected = 0.0 if row is None else share(row)
            assert expected is None or value == pytest.approx(expected)


def run_of(vectors, ids):
    vectors = np.array(vectors, np.float32)
    scores = SimpleNamespace(pooled=vectors, dense_scores=lambda queries: queries @ vectors.T)
    encoder = SimpleNamespace(encode=lambda texts: [SimpleNamespace(pooled=vectors[int(text)]) for text in texts])
    return SimpleNamespace(base=SimpleNamespace(ids=Ids(list(ids)), vectors=scores, query_encoder=encoder), seed=0)


BEFORE = run_of([[1, 0], [0, 1], [0.6, 0.8]], "abc")


def test_a_document_is_as_far_as_the_nearest_other_one_that_queries_were_written_for():
    outputs = {"filter": SimpleNamespace(queries=[SimpleNamespace(doc_id=doc_id) for doc_id in "ab"])}
    new, old = drift._distances(BEFORE, outputs, run_of([[0, 1], [0.8, 0.6]], "de"), np.array([0, 1]))
    assert new == pytest.approx([0, 0.2])
    assert old == pytest.approx([1, 1, 0.2])


def test_the_best_scores_may_fall_by_their_standard_error():
    queries = [Query("q0", "0"), Query("q1", "1"), Query("q2", "2"), Query("q3", "2")]
    outputs = {"steer": SimpleNamespace(measuring=lambda *_: SimpleNamespace(queries=queries)), "sample": None}
    figures = drift._top_scores(run_of([[1, 0], [0, 1], [0.6, 0.0]], "abc"), outputs, run_of([[0, 1]], "b"))
    was = np.array([1, 1, 0.6, 0.6])
    assert figures["before"] == pytest.approx(was.mean())
    assert figures["limit"] == pytest.approx(was.mean() - was.std(ddof=1) / 2)
    assert figures["now"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "figure", "beyond"),
    [
        ("new_words", {"came": 0.5, "before": 0.2, "limit": 0.5}, {"came": 0.51}),
        ("distance", {"came": 0.5, "before": 0.2, "limit": 0.5}, {"came": 0.51}),
        ("top_scores", {"now": 0.5, "before": 0.6, "limit": 0.5}, {"now": 0.49}),
    ],
)
def test_what_is_usual_is_no_drift(name, figure, beyond):
    assert drift.sentences({name: figure}) == drift.sentences({}) == []
    assert len(drift.sentences({name: {**figure, **beyond}})) == 1


def test_drift_is_told_with_its_figures_where_words_are_new(copied, tmp_path):
    run = acclimate.open(copied)
    like = [doc._replace(doc_id=f"{doc.doc_id}-copy") for doc in documents_of(copied)[:4]]
    result = run.update(write_corpus(tmp_path / "like.jsonl", like))
    assert result.drift["new_words"]["came"] == 0
    assert result.drift["distance"]["documents"] == 4
    assert result.drifted == []
    odd = [Doc(f"odd-{number}", f"quux{number} frobnicate{number} grault{number}") for number in range(9)]
    result = run.update(write_corpus(tmp_path / "odd.jsonl", odd))
    assert result.drift["new_words"]["came"] > result.drift["new_words"]["limit"]
    assert "occur in no old one" in result.drifted[0]
    assert "Consider adapting to the current documents." in str(result)


@pytest.mark.parametrize("way", ["every text is another", "every document has another id", "half of them went"])
def test_words_that_a_document_had_which_changed_or_went_are_not_new(way, copied, tmp_path):
    """Held against what the run was made from, not against what is left of it."""
    docs = documents_of(copied)
    if way == "every text is another":
        docs = [doc._replace(text=f"{doc.text} {doc.text}") for doc in docs]
    elif way == "every document has another id":
        docs = [doc._replace(doc_id=f"{doc.doc_id}-b") for doc in docs]
    else:
        docs = [doc._replace(doc_id=f"{doc.doc_id}-b") for doc in docs[::2]] + docs[1::4]
    words = acclimate.open(copied).update(write_corpus(tmp_path / "today.jsonl", docs), all=True).drift["new_words"]
    assert words["documents"] > 0
    assert words["came"] == 0
    assert words["before"] > 0  # the run's own documents, each against all others
