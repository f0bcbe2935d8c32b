"""Candidates are found once, and what is kept is what a search finds, to the last bit."""

from __future__ import annotations

from functools import partial

import numpy as np
import processes
import pytest

from acclimate.base import distributed
from acclimate.base.lazy import Lazy
from acclimate.base.testing import DOCS, QUERIES
from acclimate.search.bm25 import BM25
from acclimate.search.cached_candidates import CachedCandidates, Finding, Retrievers
from acclimate.search.candidates import rank_of
from acclimate.search.members import BM25Member, Ids
from acclimate.search.system import System
from acclimate.search.value_cache import ValueCache

IDS = Ids([doc.doc_id for doc in DOCS])
MEMBERS = {
    "short": BM25Member(BM25.build(doc.title or doc.text[:40] for doc in DOCS)),
    "long": BM25Member(BM25.build(doc.default_text() for doc in DOCS)),
}
NAMES, DEPTH = ("short", "long"), 5
SYSTEM = System(IDS, MEMBERS, NAMES, dict.fromkeys(NAMES, 1.0), DEPTH)
ROWS = [IDS.row[doc.doc_id] for doc in DOCS]


def refuse():
    pytest.fail("loaded for nothing")


def retrievers(load=lambda: MEMBERS):
    return Retrievers(IDS, Lazy({name: partial(lambda name: load()[name], name) for name in NAMES}))


def kept(store, load=lambda: MEMBERS, depth=DEPTH):
    return CachedCandidates(store, retrievers(load), retrievers, Finding(NAMES, NAMES, depth))


def same(one, other):
    assert (one.query, one.rows.tolist()) == (other.query, other.rows.tolist())
    assert {name: scores.tobytes() for name, scores in one.scores.items()} == {
        name: scores.tobytes() for name, scores in other.scores.items()
    }
    assert {name: rows.tolist() for name, rows in one.rows_by_source.items()} == {
        name: rows.tolist() for name, rows in other.rows_by_source.items()
    }
    assert one.document_ranks.tolist() == other.document_ranks.tolist()


@pytest.mark.parametrize("rows", [ROWS, []])
def test_what_is_kept_is_what_a_search_finds(tmp_path, rows):
    expected = list(SYSTEM.candidates(QUERIES, rows))
    for load in (lambda: MEMBERS, refuse):
        with ValueCache(tmp_path / "kept.sqlite") as store:
            for one, other in zip(kept(store, load).candidates(QUERIES, rows), expected, strict=True):
                same(one, other)


def test_a_query_is_searched_once_whoever_asks_and_in_whatever_company(tmp_path, monkeypatch):
    searched = []
    find = System.candidates
    monkeypatch.setattr(
        System, "candidates", lambda self, queries, rows=(): (searched.extend(queries), find(self, queries, rows))[1]
    )
    with ValueCache(tmp_path / "kept.sqlite") as store:
        list(kept(store).candidates(QUERIES[::2], ROWS[::2]))
        whole = list(kept(store).candidates(QUERIES, ROWS))
        renamed = [query._replace(query_id=f"other-{query.query_id}") for query in QUERIES]
        again = list(kept(store, refuse).candidates(renamed, ROWS))
        assert sorted(searched) == sorted(QUERIES)
        list(kept(store, depth=3).candidates(QUERIES[:1], ROWS[:1]))
        list(kept(store).candidates(QUERIES[:1]))
        assert len(searched) == len(QUERIES) + 2  # another depth, and without the row that joins, are other searches
    for one, other in zip(whole, again, strict=True):
        same(one, other._replace(query=one.query))


def test_other_sources_or_members_find_others(tmp_path):
    ways = [Finding(sources, members) for sources in (("short",), ("long",), NAMES) for members in (NAMES, NAMES[::-1])]
    assert len({way.key(QUERIES[0], None) for way in ways}) == len(ways)


def test_a_killed_search_keeps_its_batches_and_ends_with_the_same(tmp_path, monkeypatch):
    queries = [query._replace(text=f"{query.text} {number}") for number in range(4) for query in QUERIES]
    expected, last = list(SYSTEM.candidates(queries)), queries[100].text
    views = BM25Member.views

    def killed(self, queries, encoded, others):
        if any(query.text == last for query in queries):
            raise KeyboardInterrupt
        return views(self, queries, encoded, others)

    with monkeypatch.context() as patch, ValueCache(tmp_path / "kept.sqlite") as store:
        patch.setattr(BM25Member, "views", killed)
        with pytest.raises(KeyboardInterrupt):
            list(kept(store).candidates(queries))
    with ValueCache(tmp_path / "kept.sqlite") as store:
        list(kept(store, refuse).candidates(queries[:64]))
        for one, other in zip(kept(store).candidates(queries), expected, strict=True):
            same(one, other)


def test_what_another_index_or_version_kept_is_removed(tmp_path, monkeypatch):
    path = tmp_path / "kept.sqlite"
    with ValueCache(path, "an index") as store:
        list(kept(store).candidates(QUERIES))
        store.put({"key": b"value"})
    with ValueCache(path, "an index") as store:
        assert store.get(["key", "other"]) == {"key": b"value"}
    with ValueCache(path, "another index") as store:
        assert store.get(["key"]) == {}
    with ValueCache(path) as store:
        store.put({"key": b"value"})
    monkeypatch.setattr("acclimate.search.value_cache.__version__", "0")
    with ValueCache(path) as store:
        assert store.get(["key"]) == {}


def test_a_value_that_the_disk_has_changed_is_none(tmp_path):
    path, value = tmp_path / "kept.sqlite", b"what was found" * 9
    with ValueCache(path) as store:
        store.put({"key": value})
    path.write_bytes(path.read_bytes().replace(value, value.replace(b"w", b"W")))
    with ValueCache(path) as store:
        assert store.get(["key"]) == {}
        store.put({"key": value})
        assert store.get(["key"]) == {"key": value}


def test_a_source_that_was_not_named_joins_and_has_no_rank():
    (candidates,) = SYSTEM.candidates(QUERIES[:1], [ROWS[-1]])
    named = candidates.named_by(NAMES)
    assert set(candidates.rows) == {*named.rows, ROWS[-1]}
    weights = dict.fromkeys(NAMES, 0.5)
    found = [hit.doc_id for hit in System(IDS, MEMBERS, NAMES, weights, DEPTH).search(QUERIES[:1], 2 * DEPTH)]
    ranks = [rank_of(IDS.row[doc_id], named, IDS, weights) for doc_id in found[: len(named.rows)]]
    assert ranks == list(range(1, len(named.rows) + 1))
    assert rank_of(ROWS[-1], named, IDS, weights) is None
    assert np.all(np.diff(candidates.rows) > 0)


def test_others_find_what_is_missing_and_this_process_keeps_it(tmp_path):
    queries = [query._replace(text=f"{query.text} {number}") for number in range(40) for query in QUERIES]
    rows = [ROWS[place % len(ROWS)] for place in range(len(queries))]
    expected = list(SYSTEM.candidates(queries, rows))
    others = processes.Elsewhere()
    with ValueCache(tmp_path / "kept.sqlite") as store:
        list(kept(store).candidates(queries[::3], rows[::3]))
        with distributed.using_workers(others):
            counts = []
            found = kept(store, refuse).candidates(queries, rows, lambda *count: counts.append(count))
            for one, other in zip(found, expected, strict=True):
                same(one, other)
        assert counts[-1] == (len(queries), len(queries))
        assert others.n_units == len(counts) > 2
        for one, other in zip(kept(store, refuse).candidates(queries, rows), expected, strict=True):
            same(one, other)
