"""Names of systems: what they say, and that they stay the strings that reports and files have."""

from __future__ import annotations

import json

import pytest

from acclimate.search.names import SystemName
from acclimate.search.systems import EQUAL, HYBRID, TUNED


@pytest.mark.parametrize(
    ("name", "kind", "retriever", "origin", "is_adapted", "is_reranked"),
    [
        ("bm25", "bm25", "bm25", "bm25", False, False),
        ("hybrid", "hybrid", "hybrid", "hybrid", False, False),
        ("hybrid:equal", "hybrid", "hybrid", "hybrid", False, False),
        ("hybrid:tuned", "hybrid", "hybrid", "hybrid:equal", False, False),
        ("hybrid:adapted", "hybrid", "hybrid", "hybrid:tuned", True, False),
        ("hybrid:tuned+reranker", "reranked", "hybrid", "hybrid:tuned", True, True),
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
    made = made.reranked() if is_reranked else made
    assert made == name.replace(":equal", "").replace(":tuned", "")


def test_each_hybrid_is_made_from_the_one_before():
    steps = [HYBRID, EQUAL, TUNED, HYBRID.adapted(), HYBRID.adapted().reranked()]
    assert [name.origin for name in steps[1:]] == steps[:-1]
    assert [name.steps for name in steps] == [0, 1, 2, 3, 4]
    assert [SystemName(name).steps for name in ("bm25", "static", "dense:adapted", "bm25+reranker")] == [0, 0, 1, 1]


def test_what_people_have_is_what_search_engines_give():
    names = ["bm25", "dense", "late-interaction", "sparse", "hybrid", "hybrid:equal", "hybrid:tuned", "dense:adapted"]
    assert [name for name in names if SystemName(name).is_untouched] == ["bm25", "dense", "hybrid"]


def test_a_name_is_a_string_wherever_one_is_wanted():
    name = SystemName("dense").adapted().reranked()
    assert {name: 1}["dense:adapted+reranker"] == 1
    assert json.dumps({name: name}) == '{"dense:adapted+reranker": "dense:adapted+reranker"}'
    assert name.file_name == "dense-adapted+reranker"
