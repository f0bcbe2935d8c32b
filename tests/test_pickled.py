"""Pickled weights: nothing but tensors is read from them, and what is converted scores as the pickle would."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from contextlib import suppress

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from safetensors.torch import load_file
from tiny import write_cross_encoder, write_llama, write_t5

import acclimate
from acclimate.base import models
from acclimate.base.errors import DataError, SettingError
from acclimate.base.kinds import kind_of
from acclimate.base.loading import check_model
from acclimate.base.text import command
from acclimate.records import Doc, Query
from acclimate.search import scorers

WORDS = "what about food rice and fish the moon".split()
CORPUS = {"a": Doc("a", "rice and fish"), "b": Doc("b", "the moon"), "c": Doc("c", "food " * 40)}
PAIRS = [(Query("q", "what about food"), doc_id) for doc_id in CORPUS]


class Command:
    """What unpickling would run."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


def pickled(folder):
    """Put a pickle in place of safetensors; of tied weights it has each name, as torch.save leaves them."""
    state = load_file(folder / "model.safetensors")
    if json.loads((folder / "config.json").read_text()).get("tie_word_embeddings") and "shared.weight" in state:
        names = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
        state |= dict.fromkeys(names, state["shared.weight"])
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    return state


def score(folder, template="auto"):
    return scorers.load(folder, CORPUS, max_tokens=64, template=template).score(PAIRS)


@pytest.fixture
def t5(tmp_path):
    return tmp_path / "monot5-3b-inpars-v2-trec_covid"


@pytest.fixture
def plain(t5):
    """The scores of the same weights without a detour."""
    return score(write_t5(t5, WORDS))


def test_a_pickled_monot5_scores_as_its_safetensors_do(t5, plain, tmp_path):
    pickled(t5)
    before = {path.name: path.read_bytes() for path in t5.iterdir()}
    made = acclimate.convert_model(t5, tmp_path / "made")
    assert score(made) == plain
    assert {path.name: path.read_bytes() for path in t5.iterdir()} == before
    assert {path.name for path in made.iterdir()} == before.keys() - {"pytorch_model.bin"} | {"model.safetensors"}
    written = load_file(made / "model.safetensors")
    assert "shared.weight" in written and "lm_head.weight" not in written  # tied: the file has one of them
    again = acclimate.convert_model(t5, tmp_path / "again")
    assert (made / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


def test_weights_that_share_memory_and_are_not_tied_stay_two(tmp_path):
    folder = tmp_path / "llama"
    write_llama(folder)  # its head is its own
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    both = torch.stack([state["model.embed_tokens.weight"]] * 2)
    for place in (0, 1):
        shared = {"model.embed_tokens.weight": both[0], "lm_head.weight": both[place]}
        torch.save({**state, **shared}, folder / "pytorch_model.bin")
        made = load_file(acclimate.convert_model(folder, tmp_path / f"made-{place}") / "model.safetensors")
        assert torch.equal(made["lm_head.weight"], made["model.embed_tokens.weight"])


@pytest.mark.parametrize("is_old", [False, True])
def test_a_pickled_cross_encoder_scores_as_its_safetensors_do(is_old, tiny_encoder, tmp_path):
    folder = tmp_path / "bert"
    write_cross_encoder(folder, tiny_encoder)
    plain = score(folder)
    state = pickled(folder)
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not is_old)
    torch.save({"arguments": Command()}, folder / "training_args.bin")  # beside many published weights
    assert score(acclimate.convert_model(folder, tmp_path / "made")) == plain
    assert not (tmp_path / "made" / "training_args.bin").exists()


def sharded(folder):
    """The pickle in the folder as two shards and their index."""
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    homes = {name: f"pytorch_model-0000{at % 2 + 1}-of-00002.bin" for at, name in enumerate(state)}
    for home in set(homes.values()):
        torch.save({name: state[name] for name in state if homes[name] == home}, folder / home)
    index = {"metadata": {"total_size": 1}, "weight_map": homes}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def test_shards_stay_shards_with_an_index_of_their_own(t5, plain, tmp_path):
    pickled(t5)
    sharded(t5)
    made = acclimate.convert_model(t5, tmp_path / "made")
    names = {path.name for path in made.iterdir()}
    assert {f"model-0000{n}-of-00002.safetensors" for n in (1, 2)} | {"model.safetensors.index.json"} <= names
    assert not [name for name in names if "pytorch" in name]
    assert score(made) == plain
    (t5 / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(DataError, match="1 of 2 pytorch_model-"):
        acclimate.convert_model(t5, tmp_path / "less")
    torch.save({"a": torch.ones(1)}, t5 / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(DataError, match=r"pytorch_model-00002-of-00002.bin: no .*, which .*index.json lists"):
        acclimate.convert_model(t5, tmp_path / "less")
    (t5 / "pytorch_model.bin.index.json").write_text("[]")
    with pytest.raises(DataError, match=r"index\.json: expected a weight_map"):
        acclimate.convert_model(t5, tmp_path / "less")


BAD = {
    "a command": ({"x": Command()}, r"asks for (posix|nt).system, which is not a tensor"),
    "a class": ({"x": Doc("a", "b")}, "asks for acclimate.records.Doc"),
    "a model": (torch.nn.Linear(1, 1), "asks for torch.nn.modules.linear.Linear"),
    "a list": ([torch.ones(1)], "a list; expected tensors by name"),
    "nothing": ({}, "expected tensors by name"),
    "a number": ({"step": 3}, "'step' is a int; expected tensors by name and nothing else"),
    "tensors of tensors": ({"state_dict": {"x": torch.ones(1)}}, "'state_dict' is a dict"),
    "a sparse tensor": ({"x": torch.ones(2, 2).to_sparse()}, "'x' is a sparse tensor"),
    "2000 bytes": (None, "no readable pickled tensors; download it again"),
    "6000 bytes": (None, "no readable pickled tensors; download it again"),
    "a page": (b"<!doctype html>", "no readable pickled tensors"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "no readable pickled tensors"),
    "an empty file": (b"", "no readable pickled tensors"),
    "a tensor less": ({"decoder.final_layer_norm.weight": None}, "1 of .* tensors are not in its weights"),
}


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("how", BAD)
def test_a_pickle_of_anything_but_tensors_is_refused_by_name(how, is_old, t5, tmp_path, monkeypatch):
    content, said = BAD[how]
    path = t5 / "pytorch_model.bin"
    monkeypatch.chdir(tmp_path)
    write_t5(t5, WORDS)
    state = pickled(t5)
    if how.endswith("bytes"):
        content = path.read_bytes()[: int(how.split()[0])]
    elif how == "a tensor less":
        content = {name: tensor for name, tensor in state.items() if name not in content}
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=not is_old)
    with pytest.raises(DataError, match=said) as raised:
        acclimate.convert_model(t5, tmp_path / "made")
    assert str(t5) in str(raised.value) and "\n" not in str(raised.value)
    assert [entry.name for entry in tmp_path.iterdir()] == [t5.name]  # nothing is left, and nothing ran


def test_who_has_only_pickles_is_told_the_command_and_it_works(t5, plain, tmp_path):
    pickled(t5)
    with pytest.raises(DataError, match=re.escape(command("convert-model", t5, "NEW-FOLDER"))):
        scorers.load(t5, CORPUS, max_tokens=64)
    from acclimate.cli.main import main

    assert main(["convert-model", str(t5), str(tmp_path / "made")]) == 0
    assert score(tmp_path / "made") == plain
    for out, said in ((tmp_path / "made", "there is something here already"), (t5 / "config.json", "something here")):
        with pytest.raises(DataError, match=said):
            acclimate.convert_model(t5, out)
    with pytest.raises(DataError, match="nothing to convert"):
        acclimate.convert_model(tmp_path / "made", tmp_path / "twice")
    with pytest.raises(SettingError, match="no model at ''"):
        acclimate.convert_model("", tmp_path / "twice")
    (t5 / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=f"{t5}: no tokenizer in this folder"):
        acclimate.convert_model(t5, tmp_path / "mute")


def test_what_a_killed_conversion_left_is_removed(t5, plain, tmp_path):
    pickled(t5)
    (tmp_path / ".made.123.part").mkdir()
    acclimate.convert_model(t5, tmp_path / "made")
    assert {entry.name for entry in tmp_path.iterdir()} == {t5.name, "made"}


def test_the_modules_of_an_encoder_are_converted(tiny_encoder, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from acclimate.search.encoder import Encoder

    transformer = Transformer.load(str(tiny_encoder))
    folder = tmp_path / "dense"
    modules = [transformer, Pooling(32), Dense(32, 8)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    plain = Encoder.load(str(folder), max_tokens=32).encode(["rice"])
    pickled(folder / "2_Dense")
    with pytest.raises(DataError, match=re.escape(command("convert-model", folder, "NEW-FOLDER"))):
        check_model(str(folder))
    made = acclimate.convert_model(folder, tmp_path / "made")
    converted = Encoder.load(str(made), max_tokens=32).encode(["rice"])
    assert (converted[0].pooled == plain[0].pooled).all()


def test_an_adapter_is_converted(tmp_path):
    (tmp_path / "lora").mkdir()
    torch.save({"a.lora_A.weight": torch.ones(2, 2)}, tmp_path / "lora" / "adapter_model.bin")
    (tmp_path / "lora" / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}')
    made = acclimate.convert_model(tmp_path / "lora", tmp_path / "made")
    assert sorted(path.name for path in made.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    (tmp_path / "lora" / "modules.json").write_text("5")
    with pytest.raises(DataError, match=r"modules\.json: expected a list of modules"):
        acclimate.convert_model(tmp_path / "lora", tmp_path / "again")


def test_an_encoder_saved_in_half_precision_with_the_heads_of_its_training_becomes_a_reranker(tiny_encoder, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    from acclimate.search.scorers.cross_encoder import load

    folder = tmp_path / "encoder"  # as microsoft/deberta-v3-large is published: no architectures, heads of its own
    transformer = AutoModel.from_pretrained(tiny_encoder)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(folder)
    config = transformer.config.to_dict()
    (folder / "config.json").write_text(json.dumps({**config, "architectures": None, "dtype": "float16"}))
    state = {f"bert.{name}": tensor.half() for name, tensor in transformer.state_dict().items()}
    state["lm_predictions.lm_head.bias"] = torch.zeros(9).half()
    torch.save(state, folder / "pytorch_model.bin")
    made = acclimate.convert_model(folder, tmp_path / "made")
    check_model(str(made))
    reranker = load(str(made), max_tokens=32, is_new=True)
    assert {parameter.dtype for parameter in reranker.parameters()} == {torch.float32}
    weights = dict(reranker.named_parameters())
    key = next(name for name in weights if name.endswith("layer.0.attention.self.key.weight"))
    assert torch.equal(weights[key].cpu(), transformer.encoder.layer[0].attention.self.key.weight.half().float())


def test_a_model_that_cannot_be_downloaded_is_named_in_one_line(monkeypatch):
    def fails(*_, **__):
        raise OSError("Cannot find it\nand outgoing traffic has been disabled")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    with pytest.raises(DataError, match="org/some-model: the model could not be downloaded: Cannot find it and"):
        models.weights_fingerprint("org/some-model")
    with pytest.raises(DataError, match="org/some-model: the model could not be downloaded"):
        acclimate.convert_model("org/some-model", "out")


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("monot5", {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}),  # has a decoder by default
        ("monot5", {"model_type": "t5", "architectures": ["T5WithLMHeadModel"]}),
        ("monot5", {"model_type": "mt5"}),
        ("encoder", {"model_type": "t5", "architectures": ["T5EncoderModel"]}),
        (
            "monot5",
            {"model_type": "bart", "architectures": ["BartForConditionalGeneration"], "is_encoder_decoder": True},
        ),
        ("cross-encoder", {"model_type": "t5", "architectures": ["T5ForSequenceClassification"]}),
        ("cross-encoder", {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}),
        ("encoder", {"model_type": "bert"}),
        ("decoder", {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}),
    ],
)
def test_the_kind_follows_from_the_configuration(kind, config):
    assert kind_of(config) == kind


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_with_other_bytes_here_and_there_is_refused_in_a_line(tmp_path, new):
    (adapter := tmp_path / "adapter").mkdir()  # to build a model each time would take most of the test
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "base"}')
    path, chance = adapter / "adapter_model.bin", random.Random(0)
    torch.save({"weight": torch.ones(3), "bias": torch.zeros(2, 2)}, path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.choice([1, 5]) if damaged else 0):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with suppress(DataError):
            acclimate.convert_model(adapter, tmp_path / "made")
        shutil.rmtree(tmp_path / "made", ignore_errors=True)
