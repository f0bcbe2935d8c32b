"""Runs that are measured by labelled queries: their own, or those of a BEIR folder."""

from __future__ import annotations

import json

import pytest
from chain import (
    FAST,
    report_of,
    write_corpus,
    write_labels,
)
from files_page import undocumented

from acclimate.base.testing import DOCS, QRELS, QUERIES
from acclimate.cli.main import main
from acclimate.corpus import formats
from acclimate.records import Qrel

pytestmark = pytest.mark.usefixtures("fake_llm")


@pytest.mark.slow
def test_labelled_queries_are_measured_on_and_never_trained_on(corpus, run_adapt, tmp_path):
    queries, qrels = write_labels(tmp_path)
    out = tmp_path / "run"
    assert (
        run_adapt(corpus, out, "--queries", queries, "--qrels", qrels, changes=(*FAST, "evaluate.max_queries=0")) == 0
    )
    report = report_of(out)
    assert report["verdict_basis"] == "qrels"
    assert undocumented(out) == set()
    assert report["queries"]["count"] == len(QUERIES)
    assert set(json.loads((out / "sample" / "splits.json").read_text()).values()) == {"train", "dev"}
    bm25 = next(system for system in report["systems"] if system["name"] == "bm25")
    assert bm25["measures"]["nDCG@10"] > 0.5
    written = {query.query_id for query in QUERIES}
    assert not written & {json.loads(line)["query_id"] for line in (out / "mine" / "examples.jsonl").open()}


ODD_IDS = [
    "My notes {}.txt",
    "日本 語{}.md",
    "a\tb{}",
    "a\nb{}",
    "50%{}",
    "a%20b{}",
    " {} ",
    "\\u0020{}",
    "x\x00\u2028{}",
]


@pytest.mark.slow
def test_a_beir_folder_brings_its_own_labels_whatever_the_ids(run_adapt, tmp_path, capsys):
    """Through to the report, and the files that it leaves give its figures."""
    odd = {one: ODD_IDS[at % len(ODD_IDS)].format(at) for at in range(len(DOCS)) for one in (f"d{at:02}", f"q{at:02}")}
    folder, out = tmp_path / "beir", tmp_path / "run"
    folder.mkdir()
    write_corpus(folder / "corpus.jsonl", [doc._replace(doc_id=odd[doc.doc_id]) for doc in DOCS])
    formats.write_queries(folder / "queries.jsonl", [query._replace(query_id=odd[query.query_id]) for query in QUERIES])
    qrels = [Qrel(odd[one.query_id], odd[one.doc_id], one.relevance) for one in QRELS]
    formats.write_qrels(folder / "qrels" / "test.tsv", qrels)
    assert run_adapt(folder, out, changes=(*FAST, "evaluate.max_queries=0")) == 0
    report = report_of(out)
    assert report["verdict_basis"] == "qrels"
    for judged in (folder / "qrels" / "test.tsv", out / "evaluate" / "qrels.trec"):
        for system in report["systems"]:
            run = str(out / "evaluate" / "runs" / f"{system['name'].replace(':', '-')}.trec")
            capsys.readouterr()
            assert main(["compare", str(judged), run, run]) == 0
            figure = float(capsys.readouterr().out.split()[1])
            assert figure == pytest.approx(system["measures"]["nDCG@10"], abs=1e-4), system["name"]
