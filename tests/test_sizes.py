"""A corpus too small for what is to come is told before anything is indexed, and a small one that will do goes on."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chain import write_corpus, write_labels
from safetensors.numpy import save_file

import acclimate
from acclimate.base.errors import AcclimateError, DataError, SettingError
from acclimate.base.files import write_json
from acclimate.base.testing import DOCS, QUERIES
from acclimate.corpus.formats import write_synthetic
from acclimate.records import SyntheticQuery
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES, adapt, estimates
from acclimate.stages.filter import Filtered
from acclimate.stages.runs import new_run
from acclimate.stages.sample import Sampled, preview
from acclimate.stages.sizes import _check_kept, _learners, check_sides, check_size


def run_of(tmp_path, docs, *changes, seed=0, out="run"):
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"_id": doc.doc_id, "title": doc.title, "text": doc.text} for doc in docs]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    changes = ["sample.min_chars=10", *changes]
    return new_run(
        tmp_path / out, str(corpus), resolve(STAGES, load_recipe("quick"), changes), recipe="quick", seed=seed
    )


def copies(count):
    return [DOCS[0]._replace(doc_id=f"copy{number}") for number in range(count)]


TOO_SMALL = {
    "one document": (DOCS[:1], (), "1 of 1 document; expected 8 at least"),
    "few documents": (DOCS[:7], (), "7 of 7"),
    "all the same": (copies(30), (), "duplicate 29"),
    "all the same, and near ones may be": (copies(30), ("sample.near_duplicates=1",), "duplicate 29"),
    "all nearly the same": (
        [doc._replace(text=f"{DOCS[0].text} {DOCS[1].text} {DOCS[2].text} {n}") for n, doc in enumerate(copies(20))],
        ("sample.near_duplicates=0.5",),
        r"near duplicate 19 \(sample.near_duplicates=0.5\)",
    ),
    "all short": (DOCS, ("sample.min_chars=500",), r"0 of 40 documents; .* short 40 \(sample.min_chars=500\)"),
    "few are drawn": (DOCS, ("sample.n_docs=5",), r"not drawn 35 \(sample.n_docs=5\)"),
    "passages of one document": (
        [DOCS[0]._replace(text=" ".join(doc.text for doc in DOCS))],
        ("index.passage_words=20",),
        "1 of 1 document",
    ),
}


@pytest.mark.parametrize("case", TOO_SMALL)
def test_what_is_too_small_is_told_before_anything_is_made(case, tmp_path):
    docs, changes, told = TOO_SMALL[case]
    run = run_of(tmp_path, docs, *changes)
    with pytest.raises(AcclimateError, match=told) as error:
        check_size(run, holds_out=True)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    made = {path.name for path in run.workspace.folder.iterdir()}
    assert made <= {"corpus"}


def test_documents_that_were_only_not_drawn_need_not_be_added(tmp_path):
    """One long document has most of the passages here, so nearly all that are drawn are its own."""
    long = DOCS[0]._replace(doc_id="long", text=" ".join(f"{doc.text} Part {n}." for n in range(20) for doc in DOCS))
    for docs, changes, remedy in (
        (DOCS, ["sample.n_docs=5"], r"draw more \(sample.n_docs\)$"),
        ([long, *DOCS[:20]], ["sample.n_docs=10", "index.passage_words=20"], "or fewer .* of each .*max_per_source"),
        (DOCS[:5], ["sample.n_docs=5"], "add documents$"),
    ):
        with pytest.raises(DataError, match=f"expected 8 at least.*: .*{remedy}"):
            check_size(run_of(tmp_path, docs, *changes, out=f"run{len(docs)}"), holds_out=True)
    followed = "sample.n_docs=20", "index.passage_words=20", "sample.max_per_source=1"
    check_size(run_of(tmp_path, [long, *DOCS[:20]], *followed, out="few of each"), holds_out=True)


def test_the_whole_chain_checks_it_before_models_are_loaded(tmp_path, tiny_encoder, monkeypatch):
    monkeypatch.setattr("acclimate.llm.check", lambda name: None)
    bases = f"distill.base={tiny_encoder}", f"train.base={tiny_encoder}"
    run = run_of(tmp_path, DOCS[:5], *bases)
    with pytest.raises(DataError, match="5 of 5 documents"):
        adapt(run)
    assert not (tmp_path / "run" / "index").exists()
    assert "encoder" not in vars(run.base)


def test_a_plan_is_refused_as_the_run_would_be(tmp_path, tiny_encoder, monkeypatch):
    monkeypatch.setattr("acclimate.llm.check", lambda name: None)
    settings = [f"distill.base={tiny_encoder}", f"train.base={tiny_encoder}", "sample.min_chars=10"]
    labels = [str(path) for path in write_labels(tmp_path)]
    other = tmp_path / "other.trec"
    other.write_text(f"{QUERIES[0].query_id} Q0 nowhere 1 2.0 x\n")
    few, enough = (
        write_corpus(tmp_path / name, docs) for name, docs in (("few.jsonl", DOCS[:5]), ("enough.jsonl", DOCS))
    )
    promptagator = "generate.prompt=promptagator", "sample.examples=train"
    of_own_queries = {"queries": labels[0], "qrels": labels[1]}
    for corpus, more, message in (
        (few, {}, "5 of 5 documents"),
        (enough, {"first_stage": other}, "answers the queries of its file alone"),
        (enough, {**of_own_queries, "first_stage": other}, "documents missing from the corpus"),
        (enough, {"settings": [*settings, f"mine.retriever={other}"]}, "nowhere"),
        (enough, {"settings": [*settings, "mine.skip_top=50"]}, "expected less than mine.depth=50"),
        (enough, {"settings": [*settings, *promptagator]}, "has no training judgments"),
    ):
        refusals = []
        for whole in (acclimate.plan, acclimate.adapt):
            with pytest.raises(AcclimateError, match=message) as error:
                whole(corpus, out=tmp_path / "refused", **{"settings": settings, **more})
            refusals.append((type(error.value), str(error.value)))
        assert refusals[0] == refusals[1]
    assert "Nothing was run" in acclimate.plan(enough, out=tmp_path / "refused", settings=settings)


def test_queries_can_be_written_for_fewer_than_can_be_held_out(tmp_path):
    check_size(run_of(tmp_path, DOCS[:2]), holds_out=False)
    with pytest.raises(DataError, match=r"expected 1 at least: add documents$"):
        check_size(run_of(tmp_path, DOCS[:2], "sample.min_chars=500", out="short"), holds_out=False)


def test_a_folder_of_few_documents_may_have_them_in_a_table(tmp_path):
    (tmp_path / "faq").mkdir()
    (tmp_path / "faq" / "about.md").write_text(
        "# Questions\n\nThey were exported by a help desk, with the answers to them."
    )
    (tmp_path / "faq" / "faq.csv").write_text("id,title,text\n")
    run = new_run(
        tmp_path / "run", str(tmp_path / "faq"), resolve(STAGES, load_recipe("quick"), []), recipe="quick", seed=0
    )
    with pytest.raises(DataError, match=r"0 of 1 document; \.csv file type: 1; .*give the table that has them"):
        check_size(run, holds_out=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [8, 12, 20])
def test_a_small_corpus_that_will_do_has_every_side(count, seed, tmp_path):
    check_size(run_of(tmp_path, DOCS[:count], seed=seed), holds_out=True)


@pytest.mark.parametrize("share", ["0", "0.8", "1"])
def test_a_share_that_leaves_a_side_without_documents_is_refused(share, tmp_path):
    with pytest.raises(SettingError, match=r"sample.dev_share is .*expected above 0 and below 0.8"):
        check_size(run_of(tmp_path, DOCS, f"sample.dev_share={share}"), holds_out=True)


@pytest.mark.parametrize(("kept", "name"), [(1, "logprob"), (2, "logprob"), (2, "reranker")])
def test_a_filter_that_keeps_fewer_queries_than_there_are_splits_is_refused(kept, name, tmp_path):
    few = f"filter.keep_top_k={kept}"
    with pytest.raises(SettingError, match=f"keep_top_k is {kept}; expected 3 at least: .* and one to measure on"):
        check_size(run_of(tmp_path, DOCS, few, f"filter.filters={name}"), holds_out=True)
    check_size(run_of(tmp_path, DOCS, few, "filter.filters=round-trip", out="others"), holds_out=True)
    check_size(run_of(tmp_path, DOCS, few, f"filter.filters={name}", out="written"), holds_out=False)


def test_prompts_made_of_more_documents_than_there_are_to_learn_from_are_refused(tmp_path):
    changes = "generate.prompt=adapted", "seed.n_prompts=10", "seed.n_examples=4"
    with pytest.raises(SettingError, match="need 40: lower these"):
        check_size(run_of(tmp_path, DOCS, *changes), holds_out=True)
    check_size(run_of(tmp_path, DOCS, changes[0], "seed.n_prompts=2", changes[2], out="few"), holds_out=True)


def test_rerankers_of_more_queries_than_can_be_written_are_refused(tmp_path):
    changes = "train.rerankers=3", "train.min_queries=20"
    with pytest.raises(SettingError, match=r"train.rerankers=3 of train.min_queries=20 .* need 60"):
        check_size(run_of(tmp_path, DOCS, *changes), holds_out=True)
    check_size(run_of(tmp_path, DOCS, *changes, out="generated"), holds_out=False)
    check_size(run_of(tmp_path, DOCS, *changes, "generate.per_doc=3", out="more"), holds_out=True)


@pytest.mark.parametrize(("side", "use"), [("train", "learn from"), ("dev", "choose on"), ("test", "measure on")])
def test_a_side_that_the_filters_emptied_is_told_before_anything_is_trained(side, use, tmp_path):
    drawn = {name: [f"{name}1", f"{name}2"] for name in ("train", "dev", "test")}
    written = [
        SyntheticQuery(doc_id, "a query", doc_id, 0.0) for name in drawn if name != side for doc_id in drawn[name]
    ]
    sampled, folder = Sampled(tmp_path / "sample", {}, False), tmp_path / "filter"
    write_json(sampled.folder / "splits.json", {doc_id: name for name in drawn for doc_id in drawn[name]})
    write_synthetic(folder / "queries.jsonl", written)
    for n_docs, dropped, more in (
        (6, 2, r"draw more \(sample.n_docs\), or filter less"),
        (7, 2, "have more queries written of each .*, add documents, or filter less"),
        (6, 0, r"draw more .*, or see what became of the others: acclimate inspect \S+"),  # no filter dropped any
    ):
        run = run_of(tmp_path, DOCS, f"sample.n_docs={n_docs}", out=f"run{n_docs}{dropped}")
        filtered = Filtered(folder, {"dropped": {"round-trip": dropped}}, False)
        with pytest.raises(DataError, match=f"4 queries are left .* none to {use}, where 2 documents .*; {more}"):
            check_sides(run, sampled, filtered)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("filter", ["filter.filters=reranker", "filter.reranker=MODEL"]),
        ("label", ["label.teachers=bm25,cross-encoder:MODEL"]),
        ("label", ["label.teachers=bm25,likelihood:MODEL"]),
        ("evaluate", ["evaluate.systems=bm25+cross-encoder:MODEL@10=1"]),
        ("train", ["train.base=MODEL"]),
    ],
)
def test_what_a_stage_takes_follows_from_the_model_that_it_asks(stage, changes, tmp_path):
    flop = {}
    for size in (100, 400):
        (tmp_path / str(size)).mkdir()
        weights = {"layer.weight": np.zeros((size, size), np.float32), "embed.weight": np.zeros((9 * size, size))}
        save_file(weights, tmp_path / str(size) / "model.safetensors")
        named = [change.replace("MODEL", str(tmp_path / str(size))) for change in changes]
        run = run_of(tmp_path, DOCS, "evaluate.rerank=", *named, out=f"run-{size}")
        flop[size] = estimates(run, preview(run, run.input.corpus, 0.0))[stage].flop
    without = run_of(tmp_path, DOCS, "evaluate.rerank=", "label.teachers=bm25", "filter.filters=length", out="without")
    others = estimates(without, preview(without, without.input.corpus, 0.0)).get(stage)
    rest = others.flop if others and stage != "train" else 0.0
    assert flop[400] - rest == pytest.approx(16 * (flop[100] - rest), rel=1e-6)


@pytest.mark.parametrize("per_doc", [1, 3, 7])
@pytest.mark.parametrize(
    ("changes", "n_queries"),
    [
        (("train.rerankers=3", "train.min_queries=10"), 30),
        (("label.queries=unseen", "train.max_queries=20"), 21),  # one that is not seen
        (("label.queries=unseen", "train.max_queries=20", "train.rerankers=2", "train.min_queries=2"), 41),
    ],
)
def test_as_few_documents_are_to_learn_from_as_give_the_queries_that_are_needed(changes, n_queries, per_doc, tmp_path):
    run = run_of(tmp_path, DOCS[:1], f"generate.per_doc={per_doc}", *changes)
    n_docs, _ = _learners(run, True)
    assert n_docs * per_doc >= n_queries > (n_docs - 1) * per_doc


@pytest.mark.parametrize("test_share", [0.0, 0.2])
def test_a_filter_is_to_keep_a_query_for_each_side(test_share):
    labels = SimpleNamespace(test_share=test_share)
    for keep_top_k in range(1, 5):
        settings = {"filter": {"keep_top_k": keep_top_k, "filters": ("logprob",)}}
        run: Any = SimpleNamespace(settings=settings, input=SimpleNamespace(labels=labels))
        if keep_top_k < (3 if test_share else 2):
            with pytest.raises(SettingError, match=f"keep_top_k is {keep_top_k}; expected"):
                _check_kept(run)
        else:
            _check_kept(run)
