"""Models are opened before work begins: what cannot be loaded, or would be loaded wrongly, is refused by name."""

from __future__ import annotations

import json
import logging
import shutil
import warnings

import numpy as np
import pytest
from chain import tiny_models, write_corpus

torch = pytest.importorskip("torch", reason="torch is not installed")

from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny import write_cross_encoder

import acclimate
from acclimate import llm as llms
from acclimate.base import models
from acclimate.base.errors import AcclimateError, DataError, OutOfMemory, SettingError
from acclimate.base.loading import check_model, loading
from acclimate.base.modules import max_positions
from acclimate.base.tensor_files import tensor_shapes
from acclimate.llm.decoders.loaded import Loaded
from acclimate.llm.decoders.tokenizer import Tokenizer
from acclimate.records import Doc, Query
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.run.workspace import Workspace
from acclimate.search import scorers
from acclimate.search.encoder import Encoder
from acclimate.search.scorers.labels import labels, relevant
from acclimate.search.sparse_query import query_tokens
from acclimate.stages.chain import STAGES, check_models

CORPUS = {"a": Doc("a", "rice and fish " * 80), "b": Doc("b", "the moon"), "c": Doc("c", "")}
PAIRS = [(Query("q", "what about food " * times), doc_id) for times in (1, 40) for doc_id in CORPUS]


def rewritten(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def changed(**values):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def test_an_encoder_is_no_cross_encoder(tiny_encoder):
    with pytest.raises(DataError, match="classifier"):
        check_model(str(tiny_encoder), "cross-encoder")


def test_an_encoder_is_no_llm(tiny_encoder):
    """Transformers would load its weights as a decoder's, which writes anything. Its files are in order: programs that
    replace `llm.load` name any model."""
    llms.check_files(str(tiny_encoder))
    with pytest.raises(DataError, match=r"an encoder \(bert\), which writes no text"):
        print(Loaded(str(tiny_encoder), torch.float32).model)


def test_shapes_are_those_of_the_tensors(tiny_encoder):
    path = tiny_encoder / "model.safetensors"
    assert tensor_shapes(path) == {name: tuple(one.shape) for name, one in load_file(path).items()}


def test_loading_is_told_and_errors_of_libraries_name_the_model(caplog):
    caplog.set_level(logging.INFO)
    with (
        pytest.raises(DataError, match="some/model: the model could not be loaded: of two lines"),
        loading("some/model"),
    ):
        raise ValueError("of\ntwo lines")
    with pytest.raises(OutOfMemory, match="not enough memory for some/model"), loading("some/model"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert [record.getMessage().strip() for record in caplog.records] == ["loading some/model"] * 2


def roberta(folder, tiny_encoder, *, positions=18, limit=None):
    """An encoder whose tokenizer says more than it has positions for: they are counted from behind the padding's."""
    from transformers import AutoTokenizer, RobertaConfig, RobertaModel

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_encoder))
    tokenizer.model_max_length = limit or positions
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=positions, pad_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    RobertaModel(config).save_pretrained(folder / "body")
    tokenizer.save_pretrained(folder / "body")
    model = SentenceTransformer(modules=[Transformer(str(folder / "body")), Pooling(32, "mean")], device="cpu")
    model.save(str(folder / "encoder"), create_model_card=False)
    return str(folder / "encoder")


def test_a_tokenizer_that_cannot_be_had_is_named():
    """It is loaded without the model, to cut documents; no check of a run comes before InPars' commands."""
    with pytest.raises(DataError, match="nobody/nothing: the model could not be loaded: "):
        _ = Tokenizer("nobody/nothing").tokenizer


@pytest.mark.parametrize("limit", [None, 10**30])
def test_texts_are_cut_to_the_positions_that_a_model_has(limit, tiny_encoder, tmp_path):
    folder = roberta(tmp_path, tiny_encoder, limit=limit)
    encoder = Encoder.load(folder, max_tokens=256)
    assert encoder.max_tokens == encoder.model.max_seq_length == 16
    for task in ("query", "document"):
        assert len(encoder.encode([CORPUS["a"].text], task)[0].tokens) == 14
    write_cross_encoder(tmp_path / "cross", folder)
    assert np.isfinite(scorers.load(tmp_path / "cross", CORPUS, max_tokens=256).score(PAIRS)).all()
    assert len(query_tokens(encoder.model.tokenizer, "rice fish")) == 2


def test_positions_that_are_computed_have_no_end(tmp_path):
    assert max_positions(torch.nn.Linear(2, 2)) > 10**9


NAMED = {
    ("contradiction", "entailment", "neutral"): 1,
    ("LABEL_0", "LABEL_1"): 1,
    ("Relevant", "Not Relevant"): 0,
    ("LABEL_0",): 0,
    ("LABEL_0", "LABEL_1", "LABEL_2"): None,
    ("negative", "neutral", "positive"): None,
    ("yes", "relevant"): None,
}


@pytest.mark.parametrize("names", NAMED)
def test_scores_are_those_of_the_label_that_says_relevant(names, tiny_encoder, tmp_path):
    torch.manual_seed(0)
    plain = CrossEncoder(str(tiny_encoder), num_labels=len(names), device="cpu", activation_fn=torch.nn.Identity())
    plain.config.id2label = dict(enumerate(names))
    plain.config.label2id = {name: number for number, name in enumerate(names)}
    plain.save_pretrained(str(tmp_path), create_model_card=False)
    if NAMED[names] is None:
        with pytest.raises(SettingError, match=f"{tmp_path}.*{names[0]}"):
            scorers.check_is_reranker(str(tmp_path))
        return
    scorers.check_is_reranker(str(tmp_path))
    check_model(str(tmp_path), "cross-encoder")
    found = scorers.load(tmp_path, CORPUS, max_tokens=64).score(PAIRS[:3])
    texts = [(query.text, CORPUS[doc_id].default_text()) for query, doc_id in PAIRS[:3]]
    logits = torch.as_tensor(plain.predict(texts)).view(3, len(names))
    expected = logits[:, 0] if len(names) == 1 else torch.logit(logits.softmax(-1)[:, NAMED[names]])
    assert found == pytest.approx(expected.tolist(), abs=1e-4 if models.dtype() == torch.float32 else 0.05)


def test_labels_are_read_as_transformers_reads_them():
    assert labels({}) == {0: "LABEL_0", 1: "LABEL_1"}  # what it leaves out of a configuration
    assert labels({"num_labels": 3}) == dict(enumerate(["LABEL_0", "LABEL_1", "LABEL_2"]))
    assert relevant(labels({"id2label": {"0": "ENTAILMENT", "1": "NOT_ENTAILMENT"}}), "m") == 0


def test_weights_in_half_precision_are_trained_in_full(tiny_encoder, tmp_path):
    folder = tmp_path / "half"
    shutil.copytree(tiny_encoder, folder)
    rewritten(folder / "model.safetensors", lambda all: all.update({name: one.half() for name, one in all.items()}))
    changed(dtype="float16")(folder)
    assert {one.dtype for one in Encoder.load(str(folder)).model.parameters()} == {torch.float32}


def test_vectors_that_are_no_numbers_are_told_where_they_come_from(tiny_encoder, tmp_path):
    folder = tmp_path / "nan"
    shutil.copytree(tiny_encoder, folder)
    rewritten(folder / "model.safetensors", lambda all: all["embeddings.LayerNorm.bias"].fill_(float("nan")))
    with pytest.raises(DataError, match=f"the vectors are not finite with {folder}"):
        Encoder.load(str(folder), max_tokens=32).encode(["rice"])


@pytest.mark.parametrize("setting", ["distill.base", "train.base", "filter.reranker"])
def test_a_model_of_the_hub_with_pickled_weights_is_said_before_work_begins(
    setting, tmp_path, tiny_encoder, monkeypatch
):
    shutil.copytree(tiny_encoder, tmp_path / "hub")
    for weights in (tmp_path / "hub").rglob("*.safetensors"):
        weights.rename(weights.with_name("pytorch_model.bin"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "hub"))
    monkeypatch.setattr("acclimate.search.scorers.kind_of", lambda name: "cross-encoder")
    models._downloaded.cache_clear()
    changes = dict(each.split("=") for each in tiny_models(tiny_encoder))
    changes[setting] = "somebody/pickled"
    settings = resolve(STAGES, {}, [f"{name}={value}" for name, value in changes.items()])
    with pytest.raises(DataError, match=r"acclimate convert-model somebody/pickled"):
        check_models(Run(Workspace(tmp_path / "run"), settings, 0, "pydocs"))
    models._downloaded.cache_clear()


@pytest.mark.parametrize(
    "changes",
    [
        ["distill.base=org/nowhere"],
        ["train.base=org/nowhere"],
        ["filter.filters=reranker", "filter.reranker=org/nowhere"],
        ["filter.filters=reranker", "filter.reranker=monot5:org/nowhere"],
        ["label.teachers=bm25,cross-encoder:org/nowhere"],
        ["label.teachers=bm25,likelihood:org/nowhere"],
        ["evaluate.systems=bm25+cross-encoder:org/nowhere@10=1"],
        ["generate.llm=org/nowhere"],
        ["filter.filters=judge", "filter.llm=org/nowhere"],
        ["generate.prompt=adapted", "seed.llm=org/nowhere"],
        [],
    ],
    ids=lambda changes: changes[-1] if changes else "--reranker",
)
def test_every_model_of_a_hub_is_fetched_before_work_begins(changes, tmp_path, tiny_encoder, monkeypatch):
    """Whoever reads it, and however late."""

    def fails(name, **_):
        raise OSError(f"{name} is not there")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    with pytest.raises(AcclimateError, match="org/nowhere"):
        acclimate.adapt(
            write_corpus(tmp_path / "corpus.jsonl"),
            out=tmp_path / "run",
            reranker=None if changes else "org/nowhere",
            settings=[*tiny_models(tiny_encoder), "sample.min_chars=10", *changes],
            progress=None,
        )
    assert not (tmp_path / "run" / "index").exists()


def test_warnings_of_libraries_that_load_a_model_are_not_shown():
    with warnings.catch_warnings(record=True, action="always") as shown:
        with loading("a model"):
            warnings.warn("`is_gradient_checkpointing` is deprecated", FutureWarning, stacklevel=2)
        assert not shown
        warnings.warn("of the program", FutureWarning, stacklevel=2)
    assert [str(warning.message) for warning in shown] == ["of the program"]
