"""What waits in a file is what would wait in memory, and memory does not hold it."""

from __future__ import annotations

import gc
import tracemalloc
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelling import DOC_IDS, FINDER, HELD_OUT, MEMBERS

from acclimate.base.spilled import Spilled, collect
from acclimate.records import Doc, NWay, ScoredDoc, SyntheticQuery
from acclimate.stages.label import label
from acclimate.stages.mine import mine


@settings(max_examples=30)
@given(st.lists(st.one_of(st.text(), st.tuples(st.floats(allow_nan=False), st.integers()))))
def test_a_spilled_list_is_the_list(tmp_path_factory, records):
    spilled = collect(iter(records), tmp_path_factory.getbasetemp())
    assert isinstance(spilled, Spilled) and [*spilled] == records == collect(iter(records), None)
    assert spilled[1:] == records[1:] and len(spilled) == len(records)
    spilled.append(example := NWay("q", ("a", "b"), (0.5, 0.25)))
    assert spilled[-1] == example and type(spilled[-1]) is NWay
    assert [*zip(spilled, spilled, strict=True)][-1] == (example, example)  # two who read do not disturb each other
    with pytest.raises(IndexError):
        spilled[len(spilled)]


def test_the_file_is_closed_with_the_list(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spilled = collect(["x" * 10], tmp_path)
        del spilled
        gc.collect()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []


def taught(n_queries, scratch):
    """What is labelled, and the bytes that it takes at most."""
    queries = [SyntheticQuery(f"q{n:04}", f"query {n} about {n % 50}", DOC_IDS[n % 50], -1.0) for n in range(n_queries)]
    tracemalloc.start()
    labels = label(queries, [], HELD_OUT, FINDER, {}, (), scratch, teachers=MEMBERS, n_ways=50)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return labels, most


def test_lists_that_are_labelled_wait_on_disk(tmp_path):
    (whole, _), (here, few), (_, many) = taught(50, None), taught(50, tmp_path), taught(250, tmp_path)
    assert here.notes == whole.notes and [*here.train] == whole.train and [*here.rated] == [*whole.rated]
    assert not list(tmp_path.iterdir())
    assert many - few < 200 * 1000  # bytes of each query more; its lists take four times that


CORPUS = {f"d{n:03}": Doc(f"d{n:03}", f"text number {n} of many") for n in range(300)}


def mined(n_queries, scratch):
    """What is mined of a run of 300 hits a query, and the bytes that it takes at most."""
    queries = [SyntheticQuery(f"q{n:04}", f"query {n}", f"d{n % 300:03}", -1.0) for n in range(n_queries)]
    run = (ScoredDoc(q.query_id, doc_id, 1.0 - n / 300) for q in queries for n, doc_id in enumerate(CORPUS))
    tracemalloc.start()
    negatives = mine(queries, run, CORPUS, {}, queries, 1, scratch, n_ways=60, depth=300, max_share=1.0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return negatives, most


def test_mining_holds_the_hits_of_a_query(tmp_path):
    (whole, _), (here, few), (_, many) = mined(20, None), mined(20, tmp_path), mined(120, tmp_path)
    assert [*here.examples] == whole.examples and len(here.examples) == 20
    assert many - few < 100 * 600  # bytes of each query more; its hits take thirty times that
