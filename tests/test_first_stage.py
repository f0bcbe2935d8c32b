"""A run as a retriever, documents or passages of them; and answers that are kept with the seconds that they took."""

from __future__ import annotations

import pytest

from acclimate.base.errors import DataError
from acclimate.base.testing import FakeScorer
from acclimate.corpus.formats import read_run, write_run
from acclimate.records import Query, ScoredDoc
from acclimate.search import first_stage
from acclimate.search.exclusion import Excluding
from acclimate.search.first_stage import FirstStage
from acclimate.search.members import Ids
from acclimate.search.reranked import Reranked
from acclimate.search.systems import of_documents

QUERIES = [Query("q1", "one"), Query("q2", "two"), Query("q3", "three")]
HITS = [ScoredDoc("q1", "b", 3.0), ScoredDoc("q1", "a", 2.0), ScoredDoc("q1", "c", 1.0), ScoredDoc("q2", "c", 5.0)]


@pytest.fixture
def path(tmp_path):
    write_run(tmp_path / "theirs.trec", [*HITS, ScoredDoc("other", "a", 1.0)])
    return tmp_path / "theirs.trec"


def test_a_run_finds_what_its_file_says_and_nothing_for_other_queries(path):
    retriever = FirstStage.read(path, Ids(["c", "a", "b"]), {"q1", "q2", "q3"})
    assert retriever.search(QUERIES, 10) == HITS
    assert [hit.doc_id for hit in retriever.search(QUERIES[:1], 2)] == ["b", "a"]
    assert retriever.hits.keys() == {"q1", "q2"}


def test_what_finds_or_excludes_others_has_another_fingerprint(path, tmp_path):
    write_run(tmp_path / "others.trec", HITS[:2])
    runs = [FirstStage.read(file, Ids(["c", "a", "b"]), {"q1"}) for file in (path, tmp_path / "others.trec")]
    without = [Excluding(run, {"q1": docs}) for run in runs for docs in (["a"], ["b"], {"b", "a"})]
    assert len({one.fingerprint for one in (*runs, *without)}) == len(runs) + len(without)
    assert Excluding(runs[0], {"q1": ["b", "a"]}).fingerprint == without[2].fingerprint


def test_equal_scores_of_a_run_rank_as_trec_eval_ranks_them_wherever_they_are_measured(tmp_path):
    lines = [f"q1 Q0 {doc_id} 1 {score} engine\n" for doc_id, score in (("a", 1), ("c", 1), ("b", 1), ("d", 2))]
    (tmp_path / "engine.trec").write_text("".join(lines))
    hits = FirstStage.read(tmp_path / "engine.trec", Ids(["a", "b", "c", "d"]), {"q1"}).search(QUERIES, 10)
    write_run(tmp_path / "ours.trec", hits)
    assert (
        [hit.doc_id for hit in hits] == [hit.doc_id for hit in read_run(tmp_path / "ours.trec")] == ["d", "c", "b", "a"]
    )
    assert len({hit.score for hit in hits}) == 4


def test_where_documents_were_split_a_run_finds_passages_and_a_document_ranks_where_its_best_one_does(path):
    parents = {"a#0": "a", "a#1": "a", "b#0": "b", "b#1": "b"}
    ids = Ids(["a#0", "a#1", "b#0", "b#1", "c"], parents)
    retriever = FirstStage.read(path, ids, {"q1", "q2", "q3"})
    assert [hit.doc_id for hit in retriever.search(QUERIES[:1], 9)] == ["b#0", "b#1", "a#0", "a#1", "c"]
    assert of_documents(retriever, ids).search(QUERIES, 10) == HITS
    best = FakeScorer(lambda text, doc_id: {"a#1": 9.0, "c": 8.0}.get(doc_id, 0.0))
    reranked = of_documents(Reranked(retriever, best, depth=4), ids).search(QUERIES[:1], 3)
    assert [hit.doc_id for hit in reranked] == ["a", "b", "c"]  # c is deeper than four passages


def test_a_run_of_other_documents_or_of_none_of_the_queries_is_refused(path):
    first_stage.check(path, {"a", "b", "c"}, {"q1"})
    with pytest.raises(DataError, match=r"3 of its lines are for documents .* the first 'b'"):
        first_stage.check(path, {"c"}, {"q1"})
    with pytest.raises(DataError, match="none of the evaluation queries, such as 'Q1'; it has others, such as 'other'"):
        first_stage.check(path, {"a", "b", "c"}, {"Q1"})
