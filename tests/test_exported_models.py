"""Model folders of a run: loaded by the libraries that they are for, they make our vectors and our ranking."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from sentence_transformers import SparseEncoder

import acclimate
from acclimate.base import models
from acclimate.base.errors import DataError
from acclimate.cli.main import main
from acclimate.deploy.exports import model_card
from acclimate.deploy.exports import model_checks as checks
from acclimate.deploy.exports.model_folders import write_folder
from acclimate.deploy.exports.model_sides import Side, sides_of
from acclimate.deploy.exports.reranker_folder import difference, write_reranker
from acclimate.search.names import SystemName
from acclimate.search.sparse_query import SparseQuery, query_tokens
from acclimate.search.static import StaticQuery
from acclimate.stages.runs import open_run


@pytest.fixture(scope="module")
def folders(finished, students, tmp_path_factory):
    """Exports by system."""
    into, exports = tmp_path_factory.mktemp("hf"), {}
    for run, system in ((finished, "dense:adapted"), (finished, "hybrid+reranker"), (students, "sparse:adapted"),
                        (students, "static:adapted")):  # fmt: skip
        exports[system] = acclimate.open(run).export("hf", into / system, system=system)
    return exports


def modules_of(folder):
    return [module["type"].rpartition(".")[2] for module in json.loads((folder / "modules.json").read_text())]


def test_no_folder_has_routes_and_every_one_has_a_card(folders):
    models = [path.parent for export in folders.values() for path in export.folder.rglob("modules.json")]
    assert len(models) >= 8
    for model in models:
        assert "Router" not in modules_of(model)
        assert not {"router_config.json"} & {path.name for path in model.iterdir()}
        card = (model / "README.md").read_text()
        assert "nature, 40 of them" in card
        assert "/tmp" not in card  # nor where it was
        assert "| system | nDCG@10 | 95% interval |" in card
        assert " on synthetic queries alone: " in card
        assert "volcano" not in card.lower()  # no document's text
        assert ("is its title, a blank and its text" in card) == (model.name == "document")


def test_dense_folders_have_the_names_that_earlier_versions_know(folders):
    folder = folders["dense:adapted"].folder / "dense-adapted" / "query"
    types = [module["type"] for module in json.loads((folder / "modules.json").read_text())]
    assert types == [f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Normalize")]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] is True
    assert pooling["word_embedding_dimension"] == 32
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "float32"
    readable = [path.stat().st_mode & 0o044 for path in (folder / "model.safetensors", folder / "config.json")]
    assert readable[0] == readable[1]  # others can read it, unless they may read nothing
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert "embeddings.word_embeddings.weight" in weights.keys()  # noqa: SIM118


def test_what_the_card_says_is_what_makes_our_vectors(folders, finished):
    folder = folders["dense:adapted"].folder / "dense-adapted" / "query"
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    vectors = []
    for block in blocks:
        names: dict = {}
        exec(block.replace("FOLDER", str(folder)).replace("a text", "lava and ash"), names)
        vectors.append(np.asarray(names["vectors"])[0])
    member = searched(finished).system.members["dense:adapted"]
    ours = member.encoder.encode(["lava and ash"])[0].pooled
    for vector in vectors:
        assert vector @ ours == pytest.approx(1, abs=1e-4)


def test_what_a_card_with_a_prompt_says_to_run_encodes_the_prompt():
    transformer, pooling, normalize = (type(name, (), {})() for name in ("Transformer", "Pooling", "Normalize"))
    pooling.include_prompt, pooling.pooling_mode = True, "mean"
    lines = model_card._loading(Side("query", "dense", [transformer, pooling, normalize], "query: ", 8))
    names: dict = {}
    exec("\n".join(line for line in lines if line.startswith("texts = ")), names)
    assert names["texts"] == ["query: a text"]


@pytest.mark.parametrize(
    ("name", "task", "keeps", "said"),
    [
        ("dense", "query", True, "is base without"),
        ("dense:adapted", "query", True, "trained for"),
        ("dense:adapted", "document", True, "is base without"),
        ("dense:adapted", "document", False, "trained for"),
        ("static", "query", True, "made from base and the documents below, without"),
        ("static:adapted", "document", True, "is base without"),
        ("sparse", "query", False, "made from base and the documents below, without"),
        ("sparse:adapted", "document", True, "made from base and the documents below, without"),
        ("sparse:adapted", "document", False, "trained for"),
    ],
)
def test_a_card_says_what_was_trained_and_what_was_not(name, task, keeps, said):
    kind = name.partition(":")[0]
    run = SimpleNamespace(settings={"distill": {"base": "base"}})
    source: Any = SimpleNamespace(run=run, outputs={"distill": SimpleNamespace(notes={kind: {"keeps_index": keeps}})})
    assert said in model_card.origin(source, SystemName(name), Side(task, kind, [], "", 8))


def searched(folder):
    from acclimate.deploy.exports.source import Source
    from acclimate.stages.runs import open_run

    return Source.of(*open_run(folder, "evaluate"), "dense:adapted")


@pytest.mark.parametrize(
    ("file", "config"),
    [("config.json", {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}), ("adapter_config.json", {})],
)
def test_a_language_model_is_not_exported_as_a_classifier(file, config, tmp_path):
    saved = tmp_path / "reranker-1"
    saved.mkdir()
    (saved / file).write_text(json.dumps(config))
    (saved / "model.safetensors").touch()
    trained = SimpleNamespace(notes={}, folder=tmp_path, scorers=lambda run: {"reranker-1": None})
    settings = {"train": {"base": "base", "max_tokens": 8}}
    run, name = SimpleNamespace(settings=settings), SystemName("bm25+reranker")
    source: Any = SimpleNamespace(run=run, outputs={"train": trained}, name=name)
    with pytest.raises(DataError, match=f"{saved}: a language model is no classifier.* decoder:FOLDER.*--system bm25$"):
        write_reranker(source, tmp_path / "out")


def test_read_back_the_models_rank_as_the_run_does(folders):
    for system in ("dense:adapted", "sparse:adapted", "static:adapted"):
        notes = folders[system].manifest["notes"]
        assert notes["top ten"] == pytest.approx(1, abs=0.02)
        assert min(notes[system].values()) > 0.999
    assert "by transformers" in " ".join(folders["dense:adapted"].manifest["notes"]["dense:adapted"])


def test_a_sparse_student_is_there_in_strings(folders, students):
    folder = folders["sparse:adapted"].folder / "sparse-adapted"
    rows = [json.loads(line) for line in (folder / "documents.jsonl").open()]
    assert folders["sparse:adapted"].counts["documents"] == len(rows) == 40
    weights = json.loads((folder / "query_weights.json").read_text())
    assert all(weight > 0 for weight in weights.values())
    assert not any("." in token for row in rows for token in row["tokens"])
    # The dot product of strings is the score of the run.
    hits = acclimate.open(students).search("lava and ash", k=3, system="sparse:adapted")
    documents = {row["_id"]: row["tokens"] for row in rows}
    for hit in hits:
        score = sum(weights.get(word, 0) * documents[hit.document_id].get(word, 0) for word in ("lava", "and", "ash"))
        assert score == pytest.approx(hit.score, rel=1e-4) or len(hits) > 1  # scores of one member are scaled


def test_a_static_student_is_a_table_for_queries_and_the_base_for_documents(folders):
    folder = folders["static:adapted"].folder / "static-adapted"
    assert modules_of(folder / "query") == ["StaticEmbedding", "Normalize"]
    assert modules_of(folder / "document") == ["Transformer", "Pooling", "Normalize"]


def test_the_reranker_is_a_plain_cross_encoder(folders):
    folder = folders["hybrid+reranker"].folder / "reranker"
    assert not (folder / "modules.json").exists()
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    assert "differ by 0.0" in " ".join(folders["hybrid+reranker"].manifest["lines"])


@pytest.mark.parametrize(("precision", "rounding"), [("float32", 1e-4), ("bfloat16", 0.04)])
def test_scores_read_back_differ_by_the_rounding_of_ours_alone(precision, rounding, monkeypatch, tmp_path):
    monkeypatch.setattr(models, "dtype_name", lambda: precision)
    logits = np.linspace(-6, 4, 20)
    assert difference(logits + rounding, logits, tmp_path) == pytest.approx(rounding)
    for others in (1 / (1 + np.exp(-logits)), np.roll(logits, 1), logits * np.nan):
        with pytest.raises(DataError, match=r"read back, a score is (\d+\.\d+|nan) from ours; expected at most 0\.\d+"):
            difference(logits, others, tmp_path)


@pytest.mark.parametrize(("precision", "cosine"), [("float32", 0.9995), ("bfloat16", 0.997)])
def test_vectors_read_back_differ_by_the_rounding_of_ours_alone(precision, cosine, monkeypatch, tmp_path):
    monkeypatch.setattr(models, "dtype_name", lambda: precision)
    checks.refuse_others("dense", {"query cosine": cosine}, tmp_path)
    with pytest.raises(DataError, match=r"the query cosine with ours is 0\.98"):
        checks.refuse_others("dense", {"query cosine": 0.98}, tmp_path)


def test_a_check_encodes_texts_one_by_one_as_weights_over_a_vocabulary_are_large(folders, monkeypatch):
    encoder = checks.Exported(folders["sparse:adapted"].folder / "sparse-adapted" / "document", "sparse", "document")
    rows: list[int] = []
    forward = SparseEncoder.forward
    monkeypatch.setattr(
        SparseEncoder,
        "forward",
        lambda model, batch, **_: rows.append(len(batch["input_ids"])) or forward(model, batch),
    )
    assert len(encoder.vectors(["lava", "ash and rice"])) == 2
    assert rows == [1, 1]


def test_a_system_without_a_model_has_nothing_to_export(finished, tmp_path):
    with pytest.raises(DataError, match="bm25 has no model to export; expected --system with one that has, of "):
        acclimate.open(finished).export("hf", tmp_path / "out", system="bm25")


def test_a_model_that_comes_back_as_another_is_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(checks.LEAST_COSINE, models.dtype_name(), 1.1)
    with pytest.raises(DataError, match=r"dense: read back, the query cosine with ours is 1\.0000; expected 1"):
        acclimate.open(finished).export("hf", tmp_path / "out", system="dense")


def test_the_command_says_what_it_compared(finished, tmp_path, capsys):
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert main(["export", str(finished), "hf", "--system", "dense", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "top-ten overlap of these encoders with dense: 1.0000" in printed.out
    loaded = [line for line in printed.err.splitlines() if "loading" in line]
    assert sorted(loaded) == sorted({*loaded})  # nothing is read twice


def test_libraries_show_no_bars_of_their_own(finished, tmp_path, capfd):
    assert main(["export", str(finished), "sqlite", "--system", "dense", "--out", str(tmp_path / "out")]) == 0
    printed = capfd.readouterr()
    assert "SQLite finds 1.00" in printed.out
    assert "it/s]" not in printed.err


def test_a_folder_of_late_interaction_reads_as_many_tokens_as_the_run(finished, tmp_path):
    run, outputs = open_run(finished, "evaluate")
    side = sides_of(run, outputs["distill"], "late-interaction:adapted")["document"]
    write_folder(replace(side, max_tokens=9), tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["model_max_length"] == 9


def test_queries_of_sparse_and_static_students_are_read_from_files_as_the_library_reads_them(students, monkeypatch):
    plain = SparseEncoder(str(students / "distill" / "sparse"), device="cpu")
    for library in ("transformers", "sentence_transformers"):
        monkeypatch.setitem(sys.modules, library, None)  # importing it fails
    StaticQuery.open(students / "distill" / "static")
    ours = SparseQuery.open(students / "distill" / "sparse")
    for text in ["lava and ash", "", "[CLS] Étna  漢字", "ash lava rice fish " * 300]:
        ids = plain[0].sub_modules["query"][0].preprocess([text])["input_ids"][0]
        assert query_tokens(ours.tokenizer, text) == sorted(set(ids.tolist()))
