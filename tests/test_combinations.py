"""Retriever and reranker, old and new: the four stand side by side, and where one harms the other is said."""

from __future__ import annotations

import pytest

from acclimate.report import combinations
from acclimate.report.combinations import harms
from acclimate.search.names import SystemName
from acclimate.search.systems import pairs_to_compare

NAMES = "dense dense:adapted dense+reranker dense:adapted+reranker hybrid:tuned hybrid:adapted".split()


def measured(**ndcg):
    values = dict(zip(NAMES, (0.40, 0.45, 0.50, 0.48, 0.5, 0.5), strict=True)) | ndcg
    systems = [{"name": name, "measures": {"nDCG@10": value}} for name, value in values.items()]
    pairs = pairs_to_compare([SystemName(name) for name in values], "dense")
    comparisons = [
        {"system": str(ours), "baseline": str(theirs), "measure": "nDCG@10", "delta": values[ours] - values[theirs]}
        | {"p": 0.01}
        for ours, theirs in pairs
    ]
    others = [{**row, "measure": "R@100", "delta": -0.2} for row in comparisons]  # which decide nothing
    return {"systems": systems, "comparisons": [*others, *comparisons]}


def test_the_four_combinations_stand_in_a_row():
    (row,) = combinations.combinations(measured()["systems"])
    assert (row["retriever"], row["reranker"]) == ("dense", "reranker")
    places = ("old", "new", "old_reranked", "new_reranked")
    assert [row[place]["system"] for place in places] == NAMES[:4]
    assert [row[place]["nDCG@10"] for place in places] == [0.40, 0.45, 0.50, 0.48]
    assert combinations.table([row])[1] == ["dense:adapted", "0.400", "0.450", "0.500", "0.480", "reranker"]
    systems = [system for system in measured()["systems"] if system["name"] != "dense+reranker"]
    (row,) = combinations.combinations(systems)
    assert row["old_reranked"]["nDCG@10"] is None
    assert (
        combinations.unmeasured({**measured(), "combinations": combinations.combinations(measured()["systems"])}) == ""
    )
    assert combinations.combinations([system for system in systems if "reranker" not in system["name"]]) == []


def test_a_fusion_is_held_against_the_last_one_it_was_made_from_that_is_reranked_too():
    values = {"hybrid": 0.4, "hybrid:tuned": 0.42, "hybrid:adapted": 0.44, "hybrid+reranker": 0.46}
    systems = [{"name": name, "measures": {"nDCG@10": value}} for name, value in values.items()]
    (row,) = combinations.combinations(systems)
    assert combinations.table([row])[1] == ["hybrid:adapted", "0.400", "0.440", "0.460", "-", "reranker"]
    assert combinations.unmeasured({"systems": systems, "combinations": [row]}) == (
        "Not measured: hybrid:adapted+reranker. To measure it: --set evaluate.rerank=hybrid,hybrid:adapted"
    )


def test_that_adapting_harms_what_reranks_is_said():
    (warning,) = harms(measured())
    assert warning.startswith("Adapting the retriever harms reranking: dense:adapted+reranker (0.480)")
    assert "dense+reranker (0.500)" in warning and "dense:adapted has 0.450" in warning
    assert [*harms(measured(**{"dense:adapted+reranker": 0.51}))] == []
    assert [*harms(measured(), min_difference=0.03)] == []
    certain = measured()
    for row in certain["comparisons"]:
        row["p"] = 0.3
    assert [*harms(certain)] == []


@pytest.mark.parametrize("name", ["hybrid:adapted", "dense:adapted+reranker"])
def test_what_ranks_below_what_it_was_made_from_is_said(name):
    origin = SystemName(name).origin
    values = {name: 0.3}
    assert any(f"{name} (0.300) ranks worse than {origin}" in said for said in harms(measured(**values)))
