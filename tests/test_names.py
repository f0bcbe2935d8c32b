"""Names of systems: what they say, and that they stay the strings that reports and files have."""

from __future__ import annotations

import json

import pytest

from acclimate.search.names import SystemName


@pytest.mark.parametrize(
    ("name", "kind", "retriever", "origin", "is_adapted", "is_reranked"),
    [
        ("bm25", "bm25", "bm25", "bm25", False, False),
        ("hybrid", "hybrid", "hybrid", "hybrid", False, False),
        ("late-interaction:adapted", "late-interaction", "late-interaction", "late-interaction", True, False),
        ("hybrid+reranker", "reranked", "hybrid", "hybrid", True, True),
        ("hybrid:adapted+reranker", "reranked", "hybrid", "hybrid:adapted", True, True),
    ],
)
def test_what_a_name_says(name, kind, retriever, origin, is_adapted, is_reranked):
    system = SystemName(name)
    assert (system.kind, system.retriever, system.origin) == (kind, retriever, origin)
    assert (system.is_adapted, system.is_reranked) == (is_adapted, is_reranked)
    made = SystemName(retriever)
    made = made.adapted() if ":adapted" in name else made
    assert (made.reranked() if is_reranked else made) == name


def test_a_name_is_a_string_wherever_one_is_wanted():
    name = SystemName("dense").adapted().reranked()
    assert {name: 1}["dense:adapted+reranker"] == 1
    assert json.dumps({name: name}) == '{"dense:adapted+reranker": "dense:adapted+reranker"}'
    assert name.file_name == "dense-adapted+reranker"
