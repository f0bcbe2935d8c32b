"""Names of systems: what they say, and that they stay the strings that reports and files have."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("first-stage", "run", "first-stage", "first-stage", False, False),
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
    names += ["first-stage", "first-stage+reranker=1"]
    assert [name for name in names if SystemName(name).is_untouched] == ["bm25", "dense", "hybrid", "first-stage"]


def test_a_name_is_a_string_wherever_one_is_wanted():
    name = SystemName("dense").adapted().reranked()
    assert {name: 1}["dense:adapted+reranker"] == 1
    assert json.dumps({name: name}) == '{"dense:adapted+reranker": "dense:adapted+reranker"}'
    assert name.file_name == "dense-adapted+reranker"


@pytest.mark.parametrize(
    ("name", "first", "reranker", "depth", "weight", "is_adapted"),
    [
        ("bm25", "bm25", "", None, None, False),
        ("bm25+reranker", "bm25", "reranker", None, None, True),
        ("bm25+reranker@1000=1", "bm25", "reranker", 1000, 1.0, True),
        ("hybrid:tuned+reranker=.25", "hybrid:tuned", "reranker", None, 0.25, True),
        ("bm25+cross-encoder:a/b@100", "bm25", "cross-encoder:a/b", 100, None, False),
        ("bm25+cross-encoder:a/b@main@100=1", "bm25", "cross-encoder:a/b@main", 100, 1.0, False),
        ("dense:adapted+monot5:./my model=x+y@7=0.5", "dense:adapted", "monot5:./my model=x+y", 7, 0.5, True),
        ("first-stage+reranker@1000=1", "first-stage", "reranker", 1000, 1.0, True),
    ],
)
def test_behind_a_plus_stands_who_reranks_how_many_and_what_it_counts_for(
    name, first, reranker, depth, weight, is_adapted
):
    system = SystemName(name)
    assert (system.first, system.reranker, system.depth, system.weight) == (first, reranker, depth, weight)
    assert (system.is_adapted, system.is_reranked, system.is_untouched) == (is_adapted, "+" in name, name == "bm25")
    assert system.origin == first
    assert system.is_servable is (first != "first-stage")
    assert system.reranked() == (name if "+" in name else f"{name}+reranker")


@given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
def test_systems_with_different_names_have_different_files_that_any_disk_takes(scorers):
    files = [SystemName(f"bm25+cross-encoder:{scorer}@10").file_name for scorer in scorers]
    assert files[0] != files[1]
    assert all(re.fullmatch(r"[A-Za-z0-9_.+@=-]{1,140}", file) for file in files)
