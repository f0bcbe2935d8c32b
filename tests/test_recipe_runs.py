"""Every recipe from its documents to its report: at a small scale, with the models that travel as packages in place of
its own, and tiny ones in place of those."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chain import report_of, write_corpus
from files_page import undocumented
from tiny import write_llama

from acclimate.base import models
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli.main import main
from acclimate.run.recipes import recipe_names

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fake_llm", "tiny_embedded")]

OVERLAY = "embedded"
SMALL = """
sample.n_docs=20 sample.dev_share=0.3 sample.n_examples=2 index.max_tokens=48
seed.n_docs=10 seed.n_prompts=2 generate.per_doc=2 generate.max_doc_tokens=30
train.max_steps=2 train.max_queries=20 train.gradient_accumulation=1 train.max_tokens=48
filter.round_trip_k=40 label.source_within=0 evaluate.max_queries=4
distill.epochs=1 distill.max_steps=3 distill.batch_size=8
""".split()


RERANKER, STUDENT, TAUGHT = {"mine", "train"}, {"mine", "distill"}, {"label", "distill"}
MADE = {  # what a method has need of, of mine, train, label and distill
    "inpars-v1": RERANKER,
    "inpars-v2": RERANKER,
    "inpars-light": RERANKER,
    "duqgen": RERANKER,
    "promptagator": STUDENT,
    "promptagator-plus": RERANKER | STUDENT,
    "gpl": TAUGHT,
    "cadet": TAUGHT,
    "recommended": TAUGHT,
    "udapdr": RERANKER | TAUGHT,
    "udapdr-sequential": RERANKER | TAUGHT,
    "quick": RERANKER | TAUGHT,
}


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Path:
    """A BEIR folder with eight training queries and as many to measure on."""
    folder = tmp_path_factory.mktemp("nature")
    write_corpus(folder / "corpus.jsonl")
    rows = [json.dumps({"_id": query.query_id, "text": query.text}) for query in QUERIES]
    (folder / "queries.jsonl").write_text("\n".join(rows))
    (folder / "qrels").mkdir()
    judged = [f"{query.query_id}\t{doc.doc_id}\t1" for query, doc in zip(QUERIES, DOCS, strict=True)]
    for split, lines in (("train", judged[:8]), ("test", judged[8:])):
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def tiny_embedded(tiny_encoder, tmp_path_factory):
    """The embedded models are the tiny encoder and a tiny Llama."""
    tiny = {
        "all-minilm-l6-v2": models.ModelName(str(tiny_encoder)),
        "smollm2-135m-instruct": models.ModelName(write_llama(tmp_path_factory.mktemp("llama"))),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_embedded", tiny.__getitem__)
        yield


@pytest.mark.parametrize("recipe", [name for name in recipe_names() if name != OVERLAY])
def test_every_recipe_runs_to_its_end(recipe, collection, tmp_path):
    run = tmp_path / "run"
    sets = [part for change in SMALL for part in ("--set", change)]
    assert main(["adapt", str(collection), "--out", str(run), "--recipe", f"{recipe},{OVERLAY}", *sets]) == 0
    report = report_of(run)
    assert report["recipe"] == f"{recipe},{OVERLAY}"
    stages = {stage["name"] for stage in report["stages"]}
    assert stages >= {"generate", "filter", "evaluate"}
    assert stages & set.union(*MADE.values()) == MADE[recipe]
    settings = json.loads((run / "run.json").read_text())["settings"]
    systems = {system["name"] for system in report["systems"]}
    assert systems >= set(settings["evaluate"].get("systems", ()))
    assert undocumented(run) == set()
