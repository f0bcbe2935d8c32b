"""Our figures beside the published ones: what is matched, what differs, and a run over collections and seeds."""

from __future__ import annotations

import json

import pytest
from chain import tiny_models, write_corpus

import acclimate
from acclimate.api.reproduce import Reproduced, Reproduction, by_name, folder_of
from acclimate.base.errors import AcclimateError, SettingError
from acclimate.base.testing import DOCS, QUERIES
from acclimate.cli.main import main
from acclimate.corpus import named_collections
from acclimate.corpus.collections import check_name


def test_figures_are_shares_of_collections_that_have_a_name_and_a_source():
    for name in acclimate.recipes():
        for figures in acclimate.published(name):
            assert figures.source.startswith("arXiv ")
            assert figures.values
            assert all(0 < value < 1 for value in figures.values.values())
            assert all(named_collections.is_named(collection) for collection in figures.values)


@pytest.mark.parametrize(
    ("recipe", "collection", "values"),
    [
        ("inpars-v1", "beir/scifact", [0.774]),
        ("inpars-v2", "beir/fiqa", [0.509, 0.506]),  # on TPU and on GPU
        ("inpars-v2", "data/fiqa", [0.509, 0.506]),
        ("udapdr", "lotte/lifestyle/dev/forum", [0.748]),
        ("udapdr", "lotte/pooled/test/search", [0.766]),
        ("promptagator-plus", "beir/arguana", [0.630]),
        ("inpars-v2", "data/nature", []),
    ],
)
def test_a_collection_is_matched_by_its_usual_name_or_by_a_folder_of_it(recipe, collection, values):
    published = [figures.value(collection) for figures in acclimate.published(recipe)]
    assert [value for value in published if value is not None] == values


def test_udapdr_s_figures_on_beir_are_no_target():
    assert all(key.startswith("lotte/") for figures in acclimate.published("udapdr") for key in figures.values)


def test_a_table_has_means_spreads_and_differences():
    rows = (
        Reproduced("beir/a", "s", "nDCG@10", {0: 0.5, 1: 0.6}, {"paper": 0.5, "code": 0.6}),
        Reproduced("data/b", "s", "nDCG@10", {0: 0.25}, {}),
    )
    text = str(Reproduction("inpars-v2", rows, ("another model",)))
    assert [line.split() for line in text.splitlines()] == [
        "collection measure system ours paper code".split(),
        "beir/a nDCG@10 s 0.550 ± 0.071 0.500 (+0.050) 0.600 (-0.050)".split(),
        "data/b nDCG@10 s 0.250 - -".split(),
        "differs: another model".split(),
    ]


def test_what_cannot_be_reproduced_is_refused(tmp_path, capsys):
    with pytest.raises(SettingError, match=r"no recipe with published figures named 'quick'. There are: inpars-v1"):
        acclimate.reproduce("quick", out=tmp_path)
    assert main(["reproduce", "inpars-v2", "--out", str(tmp_path), "--seeds", "x"]) == 2
    assert "--seeds is 'x'; expected whole numbers separated by commas" in capsys.readouterr().err


def test_names_of_collections_are_looked_at_before_any_run_and_any_model(tmp_path):
    """The models of this recipe are on a hub that is out of reach."""
    for collections, message in (
        (["beir/scifcat"], "no collection of BEIR named 'scifcat'. Did you mean 'scifact'?"),
        (["beir/scifact", str(tmp_path / "scifact")], "scifact: no such file or folder. Did you mean 'beir/scifact'?"),
    ):
        with pytest.raises(AcclimateError) as refused:
            acclimate.reproduce("inpars-v2", out=tmp_path / "out", collections=collections)
        assert message in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in acclimate.recipes() if acclimate.published(name)])
def test_what_is_measured_unless_others_are_named_can_be_had(name):
    figures = acclimate.published(name)
    there, left_out = by_name(figures)
    for collection in there:
        check_name(collection)
    assert there
    assert sorted({*there, *left_out}) == sorted({collection for each in figures for collection in each.values})
    assert len(there) + len(left_out) == len({*there, *left_out})
    if name == "inpars-v2":
        assert {"beir/bioasq", "beir/cqadupstack"} <= set(left_out)


def test_each_collection_has_a_folder_of_its_own():
    usual = "beir/scifact beir/fiqa beir/cqadupstack/gaming lotte/lifestyle/dev/forum lotte/lifestyle/dev/search"
    others = "a/b a-b A/b a/B a_b data/fiqa data/FiQA ../fiqa fiqa/ beir-scifact irds:beir/scifact pydocs / . .. é è"
    collections = [*usual.split(), *others.split(), "x" * 300, "a b", "a  b"]
    folders = {collection: folder_of(collection) for collection in collections}
    assert len({folder.casefold() for folder in folders.values()}) == len(folders)
    assert folders["beir/scifact"] == "beir-scifact" == folder_of("BEIR/SciFact")  # the same by another spelling
    assert not [folder for folder in folders.values() if "/" in folder or folder[0] == "." or len(folder) > 100]


@pytest.mark.slow
def test_a_recipe_over_collections_and_seeds(tiny_encoder, fake_llm, tmp_path, capsys):
    folder = tmp_path / "scifact"
    (folder / "qrels").mkdir(parents=True)
    write_corpus(folder / "corpus.jsonl")
    rows = [json.dumps({"_id": query.query_id, "text": query.text}) for query in QUERIES]
    (folder / "queries.jsonl").write_text("\n".join(rows))
    judged = [f"{query.query_id}\t{doc.doc_id}\t1\n" for query, doc in zip(QUERIES, DOCS, strict=True)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged[:8]))
    changes = """
        sample.n_docs=20 sample.dev_share=0.3 index.max_tokens=48
        train.template=auto train.loss=listwise train.max_steps=2 train.max_tokens=48 train.gradient_accumulation=1
        evaluate.systems=bm25+reranker@5=1
    """.split()
    sets = [part for change in (*changes, *tiny_models(tiny_encoder)) for part in ("--set", change)]
    command = ["reproduce", "inpars-v1", "--out", str(tmp_path / "out"), "--collections", str(folder), "--seeds", "0,1"]
    assert main([*command, *sets]) == 0
    printed = capsys.readouterr().out
    assert "differs: GPT-J-6B writes, where the paper had GPT-3 Curie" in printed
    assert "differs: sample.n_docs is 20, and 100000 in inpars-v1" in printed
    kept = json.loads((tmp_path / "out" / "reproduction.json").read_text())
    (row,) = kept["rows"]
    assert row["published"] == {"arXiv 2307.04601, Table 1, row 3a": 0.774}
    assert row["reached"].keys() == {"0", "1"}
    assert row["system"] == "bm25+reranker@5=1"
    assert main([*command, *sets]) == 0  # goes on where it was: nothing is made again
    assert capsys.readouterr().out == printed
