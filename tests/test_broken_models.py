"""Models that are broken, in whatever way: each is refused with its folder, before the first stage."""

from __future__ import annotations

import json
import shutil
import struct

import gguf
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from chain import tiny_models
from safetensors.torch import load_file, save_file
from test_loading import changed, rewritten
from tiny import write_cross_encoder, write_llama, write_t5

from acclimate import llm
from acclimate.base.errors import AcclimateError, DataError
from acclimate.base.loading import check_model
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES, check_models
from acclimate.stages.runs import new_run


def dropped(name):
    return lambda folder: rewritten(folder / "model.safetensors", lambda tensors: tensors.pop(name))


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def cut(folder, size=-100):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def more_tokens(folder):
    path = folder / "tokenizer.json"
    read = json.loads(path.read_text())
    read["model"]["vocab"]["onemore"] = 100_000
    path.write_text(json.dumps(read))


def no_tokenizer(folder):
    for path in folder.glob("*token*"):
        path.unlink()
    (folder / "vocab.txt").unlink(missing_ok=True)


def shard_lost(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"x": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def layered(activation):
    """With a layer behind the pooling."""

    def add(folder):
        modules = json.loads((folder / "modules.json").read_text())
        layer = folder / "2_Dense"
        layer.mkdir()
        save_file({"linear.weight": torch.eye(32), "linear.bias": torch.zeros(32)}, layer / "model.safetensors")
        shape = {"in_features": 32, "out_features": 32, "activation_function": activation}
        (layer / "config.json").write_text(json.dumps(shape))
        modules.insert(2, {"path": layer.name, "type": "sentence_transformers.models.Dense"})
        (folder / "modules.json").write_text(json.dumps(modules))

    return add


BROKEN = {
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "a configuration that is a list": written("config.json", b"[1]"),
    "a configuration that is no JSON": written("config.json", b"{"),
    "no model_type": written("config.json", b"{}"),
    "an unknown architecture": changed(model_type="of-tomorrow", auto_map={"AutoModel": "code.Model"}),
    "impossible numbers": changed(hidden_size=31),
    "numbers that are none": changed(num_hidden_layers="two"),
    "pickled weights": pickled,
    "weights cut short": cut,
    "weights cut in their header": lambda folder: cut(folder, 50),
    "weights that were not fetched": written("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid "),
    "weights that are empty": written("model.safetensors", b""),
    "weights that are a page": written("model.safetensors", b"<!doctype html><title>404</title>" * 9),
    "a header that is no JSON": written("model.safetensors", struct.pack("<Q", 9) + b"{" * 9),
    "a header that is a list": written("model.safetensors", struct.pack("<Q", 3) + b"[1]"),
    "a header without offsets": written("model.safetensors", struct.pack("<Q", 8) + b'{"a":{}}'),
    "a header of a terabyte": written("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}" * 9),
    "no tensor at all": written("model.safetensors", struct.pack("<Q", 2) + b"{}"),
    "a tensor less": dropped("encoder.layer.0.attention.self.key.weight"),
    "another shape": changed(vocab_size=17),
    "a part that is lost": shard_lost,
    "no tokenizer": no_tokenizer,
    "a tokenizer that is no JSON": written("tokenizer.json", b"{}"),
    "more tokens than embeddings": more_tokens,
    "modules that are none": written("modules.json", b"{}"),
    "a student whose index stays": written("modules.json", b'[{"path": "", "type": "base.modules.router.Router"}]'),
    "modules that are numbers": written("modules.json", b"[1, 2]"),
    "a configuration of the tokenizer that is a list": written("tokenizer_config.json", b"[]"),
    "a configuration of the library that is a list": written("config_sentence_transformers.json", b"[]"),
    "a configuration of the library that is no JSON": written("sentence_bert_config.json", b"\xff"),
    "a length that is text": written("sentence_bert_config.json", b'{"max_seq_length": "64"}'),
    "a length below 0": written("tokenizer_config.json", b'{"model_max_length": -1}'),
    "half a token": written("sentence_bert_config.json", b'{"max_seq_length": 64.5}'),
    "prompts that are numbers": written("config_sentence_transformers.json", b'{"prompts": {"query": 5}}'),
    "an activation that the library replaces": layered("os.system"),
    "a path that leads out": written("modules.json", b'[{"path": "../../up", "type": "models.Transformer"}]'),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_model_is_refused_with_its_folder(how, tiny_encoder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_encoder, folder)
    BROKEN[how](folder)
    with pytest.raises(AcclimateError, match=str(tmp_path)) as raised:
        check_model(str(folder))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("setting", ["distill.base={}", "train.base={}", "label.teachers=cross-encoder:{}"])
def test_a_broken_model_is_refused_before_the_first_stage(how, setting, tiny_encoder, tmp_path):
    broken = tmp_path / "model"
    if "teachers" in setting:
        write_cross_encoder(broken, tiny_encoder)
    else:
        shutil.copytree(tiny_encoder, broken)
    try:
        BROKEN[how](broken)
    except (KeyError, FileNotFoundError):
        pytest.skip("a cross-encoder has no such part")
    settings = resolve(STAGES, load_recipe("quick"), [*tiny_models(tiny_encoder), setting.format(broken)])
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "rice"}\n')
    run = new_run(tmp_path / "run", str(tmp_path / "corpus.jsonl"), settings, recipe="quick", seed=0)
    with pytest.raises(AcclimateError, match=str(broken)):
        check_models(run)


no_configuration, no_json = written("config.json", b"[]"), written("tokenizer.json", b"{}")
FILES = (no_configuration, no_json, cut, no_tokenizer)  # whatever library reads them
LLMS = {  # what a language model may lack, and whether that is seen before the first stage
    "no configuration": (no_configuration, True),
    "an architecture that nobody knows": (changed(model_type="none"), True),
    "sizes that do not fit": (changed(hidden_size=17), True),
    "weights that were cut": (cut, True),
    "no tokenizer": (no_tokenizer, True),
    "a tokenizer that is no JSON": (no_json, True),
    "a layer less": (changed(num_hidden_layers=9), False),
    "nothing that writes": (changed(model_type="bert"), False),
}


@pytest.mark.parametrize("how", LLMS)
def test_a_broken_language_model_is_refused_before_it_writes_and_before_the_first_stage_if_its_files_tell(
    how, tmp_path
):
    broken = tmp_path / "model"
    broken.mkdir()
    write_llama(broken)
    for prefix in ("", "vllm:"):
        llm.check_files(f"{prefix}{broken}")
    breaks, is_seen = LLMS[how]
    breaks(broken)
    if breaks in FILES:
        with pytest.raises(DataError, match=str(broken)):
            llm.check_files(f"vllm:{broken}")
    with pytest.raises(DataError, match=str(broken)):
        llm.check_files(str(broken)) if is_seen else llm.load(str(broken)).complete(["a"])


@pytest.mark.parametrize("setting", ["generate.llm", "distill.base", "filter.reranker"])
def test_a_plan_names_a_folder_that_holds_no_model(setting, tiny_encoder, tmp_path):
    changes = {**dict(each.split("=") for each in tiny_models(tiny_encoder)), setting: tmp_path}
    shutil.copytree(tiny_encoder, tmp_path / "distill" / "dense")  # as in the folder of a run
    settings = resolve(STAGES, load_recipe("quick"), [f"{name}={value}" for name, value in changes.items()])
    with pytest.raises(AcclimateError, match=rf"{tmp_path}.* no config\.json"):
        check_models(new_run(tmp_path / "run", "pydocs", settings, recipe="quick", seed=0), asks=False)


@pytest.mark.parametrize("prefix", ["", "llama.cpp:"])
def test_a_gguf_file_that_is_none_is_refused_before_the_first_stage(prefix, tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"m\.gguf: not a GGUF file"):
        llm.check_files(f"{prefix}{tmp_path / 'm.gguf'}")


def test_a_gguf_file_that_was_cut_is_refused_before_the_first_stage(tmp_path):
    whole = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(whole, "llama")
    writer.add_tensor("output.weight", np.ones((8, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    llm.check_files(str(whole))
    content = whole.read_bytes()
    for size in (20, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.gguf").write_bytes(content[:size])
        with pytest.raises(DataError, match=r"cut\.gguf: damaged or cut short \(.*\); download it again"):
            llm.check_files(str(tmp_path / "cut.gguf"))


def test_whole_models_are_none_of_these(tiny_encoder, tmp_path):
    check_model(str(tiny_encoder))
    check_model(write_cross_encoder(tmp_path / "cross", tiny_encoder), "cross-encoder")
    check_model(str(tmp_path / "cross"))  # what begins from it takes its body
    for first in (True, False):
        check_model(write_t5(tmp_path / f"t5-{first}", ["word"], first=first), "monot5")
    check_model(write_llama(tmp_path / "llama"), "decoder")
    renamed = tmp_path / "renamed"  # as checkpoints of other libraries name the same weights
    shutil.copytree(tiny_encoder, renamed)
    path = renamed / "model.safetensors"
    tensors = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma"): one for name, one in load_file(path).items()
    }
    save_file(tensors, path)
    check_model(str(renamed))
