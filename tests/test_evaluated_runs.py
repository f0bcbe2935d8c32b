"""Runs by themselves: figures are those of ir_measures and trec_eval, and what is wrong with files is said."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import ir_measures
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import acclimate
from acclimate.base.errors import DataError, SettingError
from acclimate.cli.main import main
from acclimate.corpus import formats
from acclimate.corpus.formats import trec
from acclimate.corpus.formats.trec import escaped
from acclimate.measure import measures
from acclimate.measure.named import measure_of, measures_of, split_names
from acclimate.records import Qrel, ScoredDoc

LITERATURE = "nDCG@10 nDCG R@1000 RR RR@10 AP AP@3 P@5 Success@1 Judged@10 Bpref Rprec RR(rel=2)@10 AP(rel=2) SetP"
DOCS = [f"d{n}" for n in range(8)]


@st.composite
def judged_runs(draw):
    """Judgments, and a run without ties for some of their queries and another one."""
    grades = st.dictionaries(st.sampled_from(DOCS), st.integers(0, 3), min_size=1)
    judged = draw(st.dictionaries(st.sampled_from(["1", "01", "q/3"]), grades, min_size=1))
    judged[min(judged)]["d0"] = 2
    qrels = [Qrel(query_id, doc_id, grade) for query_id, of in judged.items() for doc_id, grade in of.items()]
    run: list[ScoredDoc] = []
    for query_id in [*judged, "nobody"]:
        ranking = draw(st.lists(st.sampled_from(DOCS), unique=True, max_size=8))
        if query_id == min(judged):
            ranking = list(dict.fromkeys([*ranking, "d0"]))  # a run of nothing that is judged is refused
        scores = draw(st.lists(st.integers(-50, 50), unique=True, min_size=len(ranking), max_size=len(ranking)))
        run += [ScoredDoc(query_id, doc_id, float(score)) for doc_id, score in zip(ranking, scores, strict=True)]
    return qrels, run


@given(judged_runs(), st.booleans())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_means_are_those_of_ir_measures(tmp_path, judged_run, remove_unjudged):
    qrels, run = judged_run
    formats.write_qrels(tmp_path / "qrels.tsv", qrels)
    trec.write_run(tmp_path / "run.trec", run)
    result = acclimate.evaluate_run(
        tmp_path / "qrels.tsv", tmp_path / "run.trec", measures=LITERATURE, remove_unjudged=remove_unjudged
    )
    pairs = {(qrel.query_id, qrel.doc_id) for qrel in qrels}
    left = [hit for hit in run if (hit.query_id, hit.doc_id) in pairs or not remove_unjudged]
    # Its own parser fails on Python 3.14.
    measures = [eval(name, {**ir_measures.measures.registry}) for name in LITERATURE.split()]
    theirs = ir_measures.calc_aggregate(measures, qrels, left)
    assert result[0].measures == {str(measure): pytest.approx(value, abs=5e-5) for measure, value in theirs.items()}
    assert list(result[0].measures) == LITERATURE.split()


@given(judged_runs())
@settings(deadline=None, max_examples=20)
def test_a_run_that_is_read_in_parts_measures_the_same(judged_run):
    qrels, run = judged_run
    whole = measures.measured(run, qrels, LITERATURE.split())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "_HITS_AT_ONCE", 1)
        assert measures.measured(iter(run), qrels, LITERATURE.split()) == whole
        judged = {qrel.query_id: [] for qrel in qrels}
        parts = list(measures._parts(iter(run), judged))
    assert [hit for part in parts for hit in part] == [hit for hit in run if hit.query_id in judged]


def test_a_threshold_is_that_of_measures_that_know_relevant_or_not():
    qrels = [Qrel("q", "a", 1), Qrel("q", "b", 2)]
    names = [
        measure.with_threshold(2).name for measure in measures_of("AP nDCG@10 RR(rel=3)@10 R@100 NumRet Judged@10")
    ]
    assert names == ["AP(rel=2)", "nDCG@10", "RR(rel=3)@10", "R(rel=2)@100", "NumRet", "Judged@10"]
    assert [measure_of(name).with_threshold(2).name for name in ("NumRelRet", "NumRet(rel=1)", "AP(rel=1)")] == [
        "NumRet(rel=2)",
        "NumRet(rel=1)",
        "AP",
    ]
    values = measures.per_query([ScoredDoc("q", "a", 2.0), ScoredDoc("q", "b", 1.0)], qrels, names[:1])
    assert values == {"AP(rel=2)": {"q": 0.5}}


def test_names_are_read_however_they_are_separated_and_each_counts_once():
    assert split_names("nDCG@10 R@1000,AP(rel=2, judged_only=True)\n RR") == [
        "nDCG@10", "R@1000", "AP(rel=2, judged_only=True)", "RR",
    ]  # fmt: skip
    assert split_names(["SetF(rel=2", "beta=.5)", "RR"]) == ["SetF(rel=2,beta=.5)", "RR"]  # as commas leave them
    assert [measure.name for measure in measures_of("NDCG@10 nDCG@10 MRR RR")] == ["nDCG@10", "RR"]
    assert [measure_of(name).depth for name in ("nDCG@20", "AP", "RR", "R@50")] == [20, 1000, 1000, 50]
    assert measure_of("SetF(beta=1)").name == measure_of("SetF(beta=1.0)").name


def test_grades_below_the_threshold_are_not_relevant_and_counts_are_summed(tmp_path):
    formats.write_qrels(tmp_path / "qrels.tsv", [Qrel(f"q{n}", f"d{m}", m) for n in range(3) for m in range(3)])
    trec.write_run(tmp_path / "run.trec", [ScoredDoc(f"q{n}", f"d{m}", -float(m)) for n in range(2) for m in range(3)])
    for threshold in (1, 2):
        (row,) = acclimate.evaluate_run(
            tmp_path / "qrels.tsv", tmp_path / "run.trec", measures="NumRet RR R@1000", relevance_threshold=threshold
        )
        by_name = {name.replace("(rel=2)", ""): value for name, value in row.measures.items()}
        assert by_name == pytest.approx({"NumRet": 6, "RR": 2 / 3 / (1 + threshold), "R@1000": 2 / 3})


def test_a_threshold_above_all_grades_leaves_nothing_to_measure_on(tmp_path):
    qrels, run = tmp_path / "qrels.tsv", tmp_path / "run.trec"
    formats.write_qrels(qrels, [Qrel("q", "d", 1)])
    trec.write_run(run, [ScoredDoc("q", "d", 1.0)])
    what = "the highest grade is 1, so no document is relevant for"
    for names, threshold in (("AP(rel=2)", 1), ("RR R@10", 3)):
        with pytest.raises(DataError, match=f"qrels.tsv: {what} .*: nothing to measure on"):
            acclimate.evaluate_run(qrels, run, measures=names, relevance_threshold=threshold)
    assert f"{what} AP(rel=2)," in acclimate.evaluate_run(qrels, run, measures="nDCG@10 AP(rel=2)").warnings[0]


@pytest.fixture
def files(tmp_path):
    formats.write_qrels(tmp_path / "qrels.tsv", [Qrel(f"q{n}", f"d{n}", 1) for n in range(4)])
    trec.write_run(tmp_path / "good.trec", [ScoredDoc(f"q{n}", f"d{m}", -float(m)) for n in range(3) for m in range(3)])
    (tmp_path / "good.trec.gz").write_bytes(gzip.compress((tmp_path / "good.trec").read_bytes()))
    lines = [f"q{n}\td{m}\t{m + 1}" for n in range(3) for m in range(3)]
    (tmp_path / "ranking.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_table_has_a_row_for_each_run_and_says_what_is_missing(files, capsys):
    runs = [str(files / name) for name in ("good.trec", "good.trec.gz", "ranking.tsv")]
    each = files / "each.tsv"
    arguments = ["evaluate-run", str(files / "qrels.tsv"), *runs, "--measures", "RR, Success@1", f"--per-query={each}"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    head, *rows = [[cell.strip() for cell in line.rsplit(maxsplit=2)] for line in out.splitlines()]
    assert head == ["run", "RR", "Success@1"]
    assert rows == [[run, "0.4583", "0.2500"] for run in runs]
    assert err.count("has no results for 1 of 4 judged queries; they count 0") == 3
    values = [line.split("\t") for line in each.read_text().splitlines()]
    assert values[0] == ["run", "query_id", "measure", "value"]
    assert values[1:5] == [
        [escaped(runs[0]), f"q{n}", "RR", repr(value)] for n, value in enumerate([1.0, 0.5, 1 / 3, 0.0])
    ]
    assert main([*arguments[:3], "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["queries"], list(content["providers"])) == (4, list(measures.MEASURES))
    assert content["runs"][0]["measures"]["RR@10"] == pytest.approx(0.4583, abs=5e-5)


def test_the_names_of_files_move_no_cursor(files, capsys):
    odd = [str(files / "\x1b[31mred.trec"), str(files / "two\nlines.trec")]
    for path in odd:
        Path(path).hardlink_to(files / "good.trec")
    qrels = str(files / "qrels.tsv")
    for command in (["evaluate-run", qrels, *odd], ["compare", qrels, *odd, str(files / "good.trec")]):
        assert main(command) == 0
        for shown in capsys.readouterr():
            assert "\x1b" not in shown and "two lines.trec" in shown


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("", "no line in this file"),
        ("0q1 Q0 d1 1 1 t\n", "none of its 1 query, such as '0q1', is judged"),
        ("q1 Q0 D1 1 1 t\n", "none of its documents, such as 'D1', is judged"),
        ("q1 Q0 d1 1 1 t\nq1 Q0 d1 2 0 t\n", "appears twice"),
        ("q1\td1\t1\nq2\td2\t1\nq1\td3\t2\n", "do not come together"),
        ("q1\td1\tx\n", "rank"),
    ],
)
def test_a_run_that_cannot_be_measured_is_refused_in_a_line(files, run, message):
    (files / "bad").write_text(run)
    with pytest.raises(DataError, match=message):
        acclimate.evaluate_run(files / "qrels.tsv", files / "bad")


def test_no_run_and_no_measure_are_mistakes(files):
    for arguments, message in (
        ((files / "qrels.tsv",), "no run"),
        ((files / "none", files / "none", ""), "no measures"),
        ((files / "none", files / "none", "ndcg@10"), "Did you mean 'nDCG@10'"),
    ):
        with pytest.raises(SettingError, match=message):
            acclimate.evaluate_run(*arguments[:2], **({"measures": arguments[2]} if arguments[2:] else {}))
