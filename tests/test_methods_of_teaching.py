"""UDAPDR's lists and CADET's: windows of one query, raw scores, who finds what is rated, and which queries teach."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelling import DEV, DOC_IDS, FINDER, HELD_OUT, IDS, MEMBERS, PERFECT, QUERIES, TRAIN, draw, find, find_named

from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import FakeScorer
from acclimate.learn.teachers.lists import windows_of
from acclimate.learn.teachers.turns import POOR, Rules, treat_false_negatives
from acclimate.records import NWay, Query
from acclimate.search.candidates import Candidates
from acclimate.stages.label import RERANKER, label
from acclimate.stages.unseen import check_unseen, unseen

UDAPDR = {"teachers": (RERANKER,), "weights": "equal", "normalize": "none", "windows": 15, "n_ways": 46}


def ranked_at(rank):
    """All documents; the source has that rank for both members."""

    def find_ranked(queries, rows=()):
        for query in queries:
            source = int(query.text.split()[-1])
            order = [row for row in draw(query.text).permutation(50) if row != source]
            order.insert(rank - 1, source)
            scores = np.empty(50, np.float32)
            scores[order] = -np.arange(50, dtype=np.float32)
            yield Candidates(query, np.arange(50), dict.fromkeys(MEMBERS, scores))

    return find_ranked


def rating(text, doc_id):
    return float(draw(text, doc_id).normal() * 7 - 2)


RAW = FakeScorer(rating)


@pytest.mark.parametrize("rank", [1, 2, 5, 14, 15, 16, 17, 31, 46, 50])
def test_a_source_at_any_rank_makes_every_window_once(rank):
    labels = label(TRAIN, DEV, HELD_OUT, FINDER._replace(find=ranked_at(rank)), {RERANKER: RAW}, **UDAPDR)
    assert [example.query_id for example in labels.train] == [query.query_id for query in TRAIN for _ in range(3)]
    for number, query in enumerate(TRAIN):
        (candidates,) = ranked_at(rank)([query.as_query()])
        ranking = [DOC_IDS[row] for row in np.argsort(-candidates.scores["bm25"])]
        others = [doc_id for doc_id in ranking if doc_id != query.doc_id]
        windows = labels.train[3 * number : 3 * number + 3]
        for place, window in enumerate(windows):
            assert window.doc_ids[0] == query.doc_id
            assert sorted(window.doc_ids[1:]) == sorted(others[15 * place : 15 * place + 15])
            assert window.scores == pytest.approx([rating(query.text, doc_id) for doc_id in window.doc_ids], abs=1e-4)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 50), st.integers(0, 20), st.booleans(), st.randoms(use_true_random=False))
def test_windows_hold_each_document_once_and_the_source_each_time(n_docs, size, has_source, rng):
    rows = np.array(sorted(rng.sample(range(50), n_docs)))
    scores = np.array([rng.randint(0, 5) for _ in rows], np.float32)  # many ties
    source = int(rng.choice(rows)) if has_source else None
    windows = windows_of(Candidates(Query("q", "q"), rows, {"bm25": scores}), source, {"bm25": 1.0}, IDS, size)
    if not size:
        assert [part.rows.tolist() for part in windows] == [rows.tolist()]
        return
    ranked = [row for row in rows[IDS.order(scores, rows)].tolist() if row != source]
    assert len(windows) == max(1, len(ranked) // size)
    seen = [[row for row in part.rows.tolist() if row != source] for part in windows]
    assert [sorted(part) for part in seen] == [sorted(ranked[n * size : (n + 1) * size]) for n in range(len(windows))]
    assert all((source in part.rows) == has_source for part in windows)
    assert all(len(set(part.rows.tolist())) == len(part.rows) for part in windows)


def test_rerankers_rate_all_that_is_in_windows():
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: RAW}, **UDAPDR, reranker_ways=5)
    assert {len(example.doc_ids) for example in (*labels.train, *labels.dev)} == {16}


def test_lists_of_a_log_are_windows_too():
    log = [Query("log1", "what is asked about 3")]
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: RAW}, log, **UDAPDR)
    logged = [example for example in labels.train if example.query_id == "log1"]
    assert [len(example.doc_ids) for example in logged] == [15, 15, 15]
    assert len({doc_id for example in logged for doc_id in example.doc_ids}) == 45
    assert all(example.scores[0] == max(example.scores) for example in logged)


def test_raw_scores_of_several_rerankers_are_their_mean():
    other = FakeScorer(lambda text, doc_id: rating(text, f"{doc_id} other"))
    scorers = {"reranker-a": RAW, "reranker-b": other}
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, **UDAPDR)
    assert labels.scale == {"normalize": "none", "target": "as rated"}
    targets = [np.exp(np.array(example.scores) - max(example.scores)) for example in labels.train]
    entropies = [-(part / part.sum() * np.log(part / part.sum())).sum() / np.log(len(part)) for part in targets]
    assert labels.entropy == pytest.approx(np.mean(entropies), abs=1e-4)
    for query, example in zip([query for query in TRAIN for _ in range(3)], labels.train, strict=True):
        mean = [(rating(query.text, doc_id) + rating(query.text, f"{doc_id} other")) / 2 for doc_id in example.doc_ids]
        assert example.scores == pytest.approx(mean, abs=1e-4)


def test_rerankers_teach_in_the_order_of_their_names():
    scorers = {
        f"reranker-{name}": FakeScorer(lambda text, doc_id, name=name: rating(text, doc_id + name)) for name in "bca"
    }
    labels = label(TRAIN, DEV, HELD_OUT, FINDER, scorers, **UDAPDR, mode="sequential")
    assert [turn.teacher for turn in labels.turns] == ["reranker-a", "reranker-b", "reranker-c"]
    assert {len(turn.train) for turn in labels.turns} == {3 * len(TRAIN)}


def test_who_is_rated_does_not_depend_on_the_scale_of_retrievers():
    """BM25's scores are a thousand times those of dense retrieval; raw scores teach, and nobody adds these two."""
    asked = {}

    def scaled(queries, rows=()):
        for candidates in find(queries):
            bm25 = 1000 * candidates.scores["bm25"]
            yield candidates._replace(scores={**candidates.scores, "bm25": bm25}) if asked["scaled"] else candidates

    rated = []
    for asked["scaled"] in (False, True):
        reranker = FakeScorer(rating)
        settings = {"teachers": (RERANKER,), "weights": "equal", "normalize": "none", "n_ways": 20, "reranker_ways": 6}
        labels = label(TRAIN, DEV, HELD_OUT, FINDER._replace(find=scaled), {RERANKER: reranker}, **settings)
        rated.append(({row["name"]: row["nDCG@10"] for row in labels.teachers}[RERANKER], labels.train))
    assert rated[0] == rated[1]


@pytest.mark.parametrize("teachers", [("bm25", RERANKER), ("bm25", "dense")])
def test_raw_scores_of_unlike_teachers_are_not_added(teachers):
    data = TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: RAW}
    with pytest.raises(SettingError, match="have different scales"):
        label(*data, teachers=teachers, normalize="none")
    assert label(*data, teachers=teachers[:1], normalize="none").train
    assert label(*data, teachers=teachers, normalize="none", mode="sequential").train


# Who finds


@pytest.mark.parametrize("name", ["bm25", "dense"])
def test_what_is_rated_is_what_the_named_retriever_finds_in_its_order(name):
    finder = FINDER._replace(find=find_named)
    labels = label(TRAIN, DEV, HELD_OUT, finder, {}, teachers=(name,), candidates=name, n_ways=9)
    for query, example in zip(TRAIN, labels.train, strict=True):
        (candidates,) = find_named([query.as_query()])
        best = [DOC_IDS[row] for row in candidates.rows_by_source[name] if DOC_IDS[row] != query.doc_id]
        assert example.doc_ids[0] == query.doc_id
        assert set(example.doc_ids[1:]) == set(best[:8])


def test_queries_that_find_nothing_teach_nothing_and_are_counted():
    """BM25 finds nothing but the source for two of the queries, and nothing at all for two others."""
    lost = {TRAIN[0].text, DEV[0].text, "asked 3"}

    def find_little(queries, rows=()):
        for number, candidates in enumerate(find_named(queries, rows)):
            if candidates.query.text in lost:
                kept = np.flatnonzero(np.isin(candidates.rows, rows[number : number + 1]))
                nothing = {name: np.empty(0, int) for name in candidates.rows_by_source}
                candidates = candidates.select(kept)._replace(rows_by_source=nothing)
            yield candidates

    log = [Query("log1", "asked 3"), Query("log2", "asked 4")]
    finder = FINDER._replace(find=find_little)
    for more in ({}, {"source_within": 50, "normalize": "percentile", "drop_lowest": 0.0}, {"windows": 4}):
        labels = label(TRAIN, DEV, HELD_OUT, finder, {RERANKER: RAW}, log, candidates="bm25", n_ways=9, **more)
        assert labels.dropped == {"nothing to compare is found": 3}
        assert labels.query_ids == {query.query_id for query in (*QUERIES, log[1])} - {
            TRAIN[0].query_id,
            DEV[0].query_id,
        }
        assert len(list(labels.rated)) == len(QUERIES) + 2


# Which queries teach


def test_a_source_that_the_teacher_does_not_rank_first_and_the_poorest_lists_are_left_out():
    doubting = FakeScorer(lambda text, doc_id: rating(text, doc_id) + 9 * (int(text.split()[-1]) == int(doc_id[1:])))
    data = TRAIN, DEV, HELD_OUT, FINDER, {RERANKER: doubting}
    teaching = {"teachers": (RERANKER,), "weights": "equal", "normalize": "none", "n_ways": 8}
    whole, first, best = (
        label(*data, **teaching, **more)
        for more in ({}, {"source_within": 1}, {"source_within": 1, "drop_lowest": 0.25})
    )
    sure = {example.query_id for example in (*whole.train, *whole.dev) if example.scores[0] == max(example.scores)}
    assert 0 < len(sure) < len(QUERIES)
    assert first.query_ids == sure
    assert first.dropped == {"the teacher ranks the source document too low": len(QUERIES) - len(sure)}
    tops = {example.query_id: example.scores[0] for example in (*first.train, *first.dev)}
    least = np.quantile(list(tops.values()), 0.25)
    assert best.query_ids == {query_id for query_id, top in tops.items() if top >= least - 1e-4}
    assert sum(best.dropped.values()) == len(QUERIES) - len(best.query_ids)
    with pytest.raises(SettingError, match="all lists are alike"):
        label(*data, drop_lowest=0.25)


def test_of_lists_that_are_equally_good_none_is_the_poorest():
    settings = {"teachers": (RERANKER,), "normalize": "none", "drop_lowest": 0.25, "n_ways": 8}
    made = label(TRAIN[:3], DEV[:3], HELD_OUT, FINDER, {RERANKER: PERFECT}, **settings)
    assert (len(made.train), made.dropped.get(POOR, 0)) == (3, 0)


@pytest.mark.parametrize(
    ("normalize", "scores", "false"),
    [
        ("min-max", (0.8, 0.5, 0.4, 1.0), {1, 3}),  # above half of the source's score
        ("none", (8.0, 7.9, 8.0, 8.1), {3}),  # raw scores have no shares
        ("none", (-8.0, -9.0, -7.9, -8.0), {2}),
    ],
)
def test_what_scores_above_a_share_of_the_source_is_a_false_negative_and_of_raw_scores_what_beats_it(
    normalize, scores, false
):
    example = NWay("q", ("s", "a", "b", "c"), scores)
    rules = Rules(normalize, 0, 0, 0.0, "positive", 0.5)
    treated, n_false = treat_false_negatives(example, rules)
    assert n_false == len(false)
    assert treated.scores == tuple(scores[0] if place in false else score for place, score in enumerate(scores))
    kept, _ = treat_false_negatives(example, rules._replace(false_negatives="drop"))
    assert [*zip(kept.doc_ids, kept.scores, strict=True)] == [
        (doc_id, scores[place]) for place, doc_id in enumerate(example.doc_ids) if place not in false
    ]


def test_the_teacher_ranks_by_its_own_scores_where_percentiles_are_clipped():
    """The source and a document with a lower id are both above the 99th percentile; the teacher prefers the source."""
    best = {TRAIN[9].doc_id: 50.0, "d00": 49.0}
    teacher = FakeScorer(
        lambda text, doc_id: best[doc_id] if text == TRAIN[9].text and doc_id in best else rating(text, doc_id)
    )
    teaching = {"teachers": (RERANKER,), "weights": "equal", "normalize": "percentile", "source_within": 1}
    teaching |= {"n_ways": 50, "reranker_ways": 50}
    data = TRAIN, DEV, HELD_OUT, FINDER
    labels = label(*data, {RERANKER: teacher}, **teaching)
    (example,) = (example for example in labels.train if example.query_id == TRAIN[9].query_id)
    assert dict(zip(example.doc_ids, example.scores, strict=True)).items() >= dict.fromkeys(best, 1.0).items()
    best["d00"] = 51.0
    assert TRAIN[9].query_id not in label(*data, {RERANKER: teacher}, **teaching).query_ids


def run_of(**train):
    defaults = {"max_queries": 10, "max_steps": 0, "batch_size": 4, "gradient_accumulation": 1}
    train = {**defaults, "rerankers": "one", "min_queries": 1, **train}
    return SimpleNamespace(settings={"train": train, "generate": {"prompt": ("question",)}}, seed=0)


def test_queries_that_taught_a_reranker_are_not_labelled(tmp_path):
    taught = {query.query_id for query in TRAIN[:20]}
    assert unseen(TRAIN, taught, tmp_path) == TRAIN[20:]
    with pytest.raises(DataError, match=r"are trained on all 20 queries, so label\.queries=unseen leaves none"):
        unseen(TRAIN[:20], taught, tmp_path)


@pytest.mark.parametrize(
    ("train", "n_processes", "is_enough"),
    [
        ({"max_queries": 24}, 1, True),
        ({"max_queries": 25}, 1, False),
        ({"max_queries": 400, "max_steps": 6}, 1, True),
        ({"max_queries": 400, "max_steps": 7}, 1, False),
        ({"max_queries": 400, "max_steps": 3}, 2, True),
        ({"max_queries": 400, "max_steps": 4}, 2, False),
        ({"max_queries": 5, "rerankers": "2"}, 1, True),
        ({"max_queries": 25, "rerankers": "2"}, 1, False),
        ({"max_queries": 10, "rerankers": "prompt"}, 1, True),
        ({"max_queries": 12, "rerankers": "prompt"}, 1, True),  # of one prompt there are 13
        ({"max_queries": 20, "rerankers": "prompt"}, 1, False),
    ],
)
def test_that_nothing_would_be_left_to_label_is_said_before_rerankers_learn(
    train, n_processes, is_enough, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORLD_SIZE", str(n_processes))
    of_prompts = [query._replace(prompt="ab"[number % 2]) for number, query in enumerate(TRAIN)]
    filtered = SimpleNamespace(sides=lambda sampled: {"train": of_prompts, "dev": DEV}, folder=tmp_path)
    if is_enough:
        check_unseen(run_of(**train), None, filtered)
    else:
        with pytest.raises(DataError, match="rerankers are trained on all 25 queries"):
            check_unseen(run_of(**train), None, filtered)
