"""What is read of a model's files alone is what its library reads, to the last bit; what is not known is left to it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch")

from acclimate.base.errors import DataError
from acclimate.search import query_side
from acclimate.search.encoder import Encoder

TEXTS = ["lava and ash", "", "Étna  İstanbul 漢字\t#x", "[CLS] lava [MASK]", "ash " * 300, "a\0b \ud7ff"]


@pytest.fixture
def model(tiny_encoder, tmp_path):
    """A copy of the folder, to be changed."""
    return shutil.copytree(tiny_encoder, tmp_path / "model")


def opened(folder, max_tokens=24):
    return query_side.load_query_side(folder, lambda: "weights", max_tokens=max_tokens)


def same(folder, encoder):
    """Whether both read the same of every text."""
    light = opened(folder)
    assert light is not None
    encoder.weights = "weights"
    assert light.fingerprint == encoder.fingerprint
    for one, other in zip(light.encode(TEXTS), [encoder.encode([text])[0] for text in TEXTS], strict=True):
        np.testing.assert_array_equal(one.pooled, other.pooled)
        np.testing.assert_array_equal(one.tokens, other.tokens)
    return True


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_a_bi_encoder_is_read_as_its_library_reads_it(mode, model):
    rewrite(next(model.glob("*Pooling/config.json")), pooling_mode=mode)
    assert same(model, Encoder.load(str(model), max_tokens=24))


@pytest.mark.parametrize("kind", ["dense", "late-interaction"])
def test_students_are_read_as_their_library_reads_them(kind, finished):
    folder = finished / "distill" / kind
    assert same(folder, Encoder.load_student(folder, max_tokens=24))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"num_hidden_layers": 2}),  # of which the file has one
        ("config.json", {"hidden_size": "wide"}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"query_length": 8}),
        ("tokenizer_config.json", {"do_lower_case": False}),  # not what tokenizer.json says
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}),
        ("tokenizer_config.json", {"truncation_side": "left"}),
        ("tokenizer_config.json", {"extra_special_tokens": ["<q>"]}),
        ("config_sentence_transformers.json", {"prompts": {"query": "query: "}}),
        ("*Pooling/config.json", {"pooling_mode": "max"}),
        ("*Pooling/config.json", {"pooling_mode": ["mean", "cls"]}),
        ("modules.json", None),
        ("tokenizer.json", None),
        ("model.safetensors", None),
    ],
)
def test_what_is_not_known_is_left_to_the_library(name, changes, model):
    path = next(model.rglob(name))
    if changes is None:
        path.write_bytes(path.read_bytes()[:100])
    else:
        rewrite(path, **changes)
    assert opened(model) is None


def test_vectors_that_are_no_numbers_are_refused(model):
    from safetensors.numpy import load_file, save_file

    path = next(model.rglob("model.safetensors"))
    tensors = load_file(path)
    save_file({name: value * np.float32("nan") for name, value in tensors.items()}, path)
    with pytest.raises(DataError, match="not finite"):
        opened(model).encode(["lava"])
