"""Two run files are compared where they belong to the judgments, and else refused in a line that says why."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import acclimate
from acclimate.base.errors import DataError, SettingError
from acclimate.cli.main import main
from acclimate.corpus import formats
from acclimate.corpus.formats import trec
from acclimate.measure.compared_runs import compare_runs
from acclimate.measure.measures import MEASURES, per_query
from acclimate.records import Qrel, ScoredDoc

QRELS = [Qrel(f"q{n}", f"d{n}", 1) for n in range(8)]
RUN = [ScoredDoc(f"q{n}", f"d{m}", -float(m)) for n in range(8) for m in range(n + 1)]


def of_each_query(path, _):
    acclimate.evaluate_run(path.with_name("qrels.tsv"), path.with_name("good.trec")).write_per_query(path)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("write", "rows"),
    [(formats.write_qrels, QRELS), (trec.write_qrels, QRELS), (formats.write_run, RUN), (of_each_query, [])],
)
def test_what_is_called_gz_is_packed(write, rows, tmp_path):
    write(tmp_path / "rows", rows)
    write(tmp_path / "rows.gz", rows)
    assert gzip.decompress((tmp_path / "rows.gz").read_bytes()) == (tmp_path / "rows").read_bytes() != b""


@pytest.fixture
def files(tmp_path):
    """The paths of judgments and a good run, and what puts a bad one beside them."""
    formats.write_qrels(tmp_path / "qrels.tsv", QRELS)
    formats.write_run(tmp_path / "good.trec", RUN)

    def put(run):
        formats.write_run(tmp_path / "bad.trec", run)
        return tmp_path / "bad.trec"

    return tmp_path / "qrels.tsv", tmp_path / "good.trec", put


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hit: None, "no line in this file"),
        (
            lambda hit: hit._replace(query_id=f"0{hit.query_id}"),
            "none of its 8 queries, such as '0q0', .*which has 'q0'",
        ),
        (lambda hit: hit._replace(query_id=f"{hit.query_id}.0"), "none of its 8 queries"),
        (
            lambda hit: hit._replace(doc_id=hit.doc_id.upper()),
            "none of its documents, such as 'D[0-9]', .*which has 'd0'",
        ),
    ],
)
def test_a_run_of_other_queries_or_documents_is_refused_on_either_side(files, change, message):
    qrels, good, put = files
    bad = put([changed for hit in RUN if (changed := change(hit))])
    for sides in ((good, bad), (bad, good)):
        with pytest.raises(DataError, match=message) as caught:
            compare_runs(qrels, *sides, measure="nDCG@10", seed=0)
        assert str(caught.value).startswith(f"{bad}: ")


def test_judgments_without_a_relevant_document_are_refused(files, tmp_path):
    _, good, _ = files
    formats.write_qrels(tmp_path / "zeros.tsv", [qrel._replace(relevance=-at % 2) for at, qrel in enumerate(QRELS[:1])])
    with pytest.raises(DataError, match=r"zeros.tsv: none of the 1 judgment is above 0"):
        compare_runs(tmp_path / "zeros.tsv", good, good, measure="nDCG@10", seed=0)


@pytest.mark.parametrize(
    "measure", ["nDCG@0", f"nDCG@{10**30}", "ndcg@10", "R", "NumRet", "", "nDCG@-1", "x" * 100_000]
)
def test_what_is_no_measure_is_refused_before_files_are_read(tmp_path, measure):
    with pytest.raises(SettingError) as caught:
        compare_runs(tmp_path / "none", tmp_path / "none", tmp_path / "none", measure=measure, seed=0)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("seed", ["-1", "x", "nan", "9" * 5000])
def test_a_seed_that_is_none_is_a_mistake(files, seed, capsys):
    qrels, good, _ = files
    assert main(["compare", str(qrels), str(good), str(good), f"--seed={seed}"]) == 2
    assert capsys.readouterr().err.startswith("acclimate: ")
    with pytest.raises(SettingError, match="seed is"):
        acclimate.compare(qrels, good, good, seed=seed)


def test_runs_of_one_file_name_are_shown_with_their_folders(files, tmp_path):
    qrels, good, put = files
    (tmp_path / "other").mkdir()
    same = put(RUN[1:]).rename(tmp_path / "other" / good.name)
    rows = acclimate.compare(qrels, good, same)
    assert [(row.comparison.system, row.comparison.baseline) for row in rows] == [(str(good), str(same))]
    assert acclimate.compare(qrels, good, put(RUN[1:]))[0].comparison.baseline == "bad.trec"
    assert acclimate.compare(qrels, good, good)[0].comparison.baseline == good.name


def test_the_seed_draws_the_interval(files):
    qrels, good, put = files
    other = put([hit._replace(score=-hit.score) for hit in RUN])
    drawn = [acclimate.compare(qrels, good, other, seed=seed)[0].comparison.ci95 for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_counts_0_is_said(files, tmp_path):
    _, good, put = files
    formats.write_qrels(tmp_path / "more.tsv", [*QRELS, Qrel("q9", "d1", 0)])
    found = compare_runs(tmp_path / "more.tsv", put(RUN[:3]), good, measure="nDCG@10", seed=0)
    assert found[0].comparison.queries == 9
    assert [line.replace(str(tmp_path), "") for line in found.warnings] == [
        "/bad.trec has no results for 7 of 9 judged queries; they count 0",
        "/bad.trec has at most 2 results for a query: if it was cut off there, nDCG@10 may be too low",
        "/good.trec has no results for 1 of 9 judged queries; they count 0",
        "/good.trec has at most 8 results for a query: if it was cut off there, nDCG@10 may be too low",
        "1 of 9 judged queries have no relevant document; they count 0, as in trec_eval",
    ]
    assert found[0].baseline_mean == pytest.approx(sum(per_query(RUN, QRELS)["nDCG@10"].values()) / 9)


names = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, min_size=3, max_size=3)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=names, scores=st.lists(st.sampled_from([0.0, 1.0, 1.0 + 1e-9, -3.0]), min_size=9, max_size=9))
def test_run_files_are_measured_as_what_is_in_memory_was_and_as_trec_eval_does(tmp_path, ids, scores):
    import pytrec_eval

    run = [ScoredDoc(q, d, scores[3 * a + b]) for a, q in enumerate(ids) for b, d in enumerate(ids)]
    qrels = [Qrel(q, d, int(at == 2)) for q in ids for at, d in enumerate(ids)]
    formats.write_run(tmp_path / "run.trec", run)
    ranked = sorted(run, key=lambda hit: (hit.query_id, -hit.score, hit.doc_id))  # as retrievers give their hits
    expected = per_query([hit._replace(score=-float(rank)) for rank, hit in enumerate(ranked)], qrels, MEASURES)
    for write in (formats.write_qrels, trec.write_qrels):
        write(tmp_path / "qrels", qrels)
        found = compare_runs(
            tmp_path / "qrels", tmp_path / "run.trec", tmp_path / "run.trec", measure="nDCG@10", seed=0
        )
        assert found[0].mean == pytest.approx(sum(expected["nDCG@10"].values()) / 3)
    columns = [line.split("\t") for line in (tmp_path / "run.trec").read_text("utf-8").split("\n")[:-1]]
    judged = [line.split("\t") for line in (tmp_path / "qrels").read_text("utf-8").split("\n")[:-1]]
    theirs = pytrec_eval.RelevanceEvaluator(_nested(judged, 3, int), {"ndcg_cut.10"}).evaluate(
        _nested(columns, 4, float)
    )
    ours = {trec.escaped(query): value for query, value in expected["nDCG@10"].items()}
    assert {query: value["ndcg_cut_10"] for query, value in theirs.items()} == pytest.approx(ours)


def _nested(rows, column, number):
    found = {}
    for row in rows:
        found.setdefault(row[0], {})[row[2]] = number(row[column])
    return found
