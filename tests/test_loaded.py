"""A model that `LocalLLM`s share: its precision, the tokens that end its answers, and the prefixes that it keeps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from tiny import write_llama

from acclimate.llm.decoders.loaded import KEPT_PREFIXES, Loaded
from acclimate.llm.decoders.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("loaded"))


@pytest.fixture
def loaded(folder):
    return Loaded(folder, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_has_the_precision_asked_for(folder, dtype):
    assert {weight.dtype for weight in Loaded(folder, dtype).model.parameters()} == {dtype}


@pytest.mark.parametrize(("configured", "added"), [(5, {5}), ([5, 6], {5, 6}), (None, set())])
def test_an_answer_ends_at_what_the_tokenizer_or_the_model_says(folder, loaded, configured, added):
    loaded.__dict__["model"] = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=configured))
    ends = Tokenizer(folder).end_ids
    assert ends and loaded.end_ids == ends | added


def test_the_prefixes_used_last_are_kept_until_all_are_forgotten(loaded):
    read: list[Any] = []
    held = [False, True, False, False, False]
    loaded.__dict__["decoder"] = SimpleNamespace(prefix=read.append, forget=lambda: held.pop(0))

    def use(*numbers):
        read.clear()
        for number in numbers:
            loaded.prefix([number])
        return [number for (number,) in read]

    first = range(KEPT_PREFIXES)
    assert use(*first, *first) == [*first]
    assert use(0, 9, 0, 9, 1) == [9, 1]
    assert loaded.forget()  # prefixes
    assert loaded.forget()  # what the decoder held
    assert not loaded.forget()
    assert use(9) == [9]
    assert loaded.forget()
    loaded.prefix([])
    assert not loaded.forget()  # nothing is shared


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (transformers.LlamaConfig(), "Packed"),
        (transformers.LlamaConfig(mlp_bias=True), "Generic"),
        (transformers.GPT2Config(), "Generic"),
        (transformers.T5Config(), "Seq2Seq"),
    ],
)
def test_a_model_has_the_decoder_of_its_architecture(loaded, config, kind, monkeypatch):
    for name in ("generic.Generic", "packed.Packed", "seq2seq.Seq2Seq"):
        monkeypatch.setattr(f"acclimate.llm.decoders.{name}.__init__", lambda *_: None)
    loaded.__dict__["model"] = SimpleNamespace(config=config)
    assert type(loaded.decoder).__name__ == kind
