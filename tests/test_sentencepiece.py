"""Published models that bring a sentencepiece model as their only tokenizer: they load, and are converted."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from test_pickled import WORDS, pickled, score
from tiny import write_t5

import acclimate
from acclimate.base.errors import MissingExtra
from acclimate.base.loading import check_model


@pytest.fixture
def t5(tmp_path):
    return tmp_path / "monot5-3b-inpars-v2-trec_covid"


def write_sentencepiece(path):
    """A vocabulary of sentencepiece with tokens that answer."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    prompts = ["Query: what about food Document: rice and fish Relevant: true", "the moon Relevant: false"]
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    options = {**ids, "user_defined_symbols": ["▁true", "▁false"], "hard_vocab_limit": False, "minloglevel": 2}
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(prompts * 20), model_writer=file, vocab_size=60, **options
        )


def with_sentencepiece(folder, name):
    for path in folder.glob("*token*"):
        path.unlink()
    write_sentencepiece(folder / name)


def test_a_published_monot5_with_spiece_model_alone_loads_and_needs_no_library_once_converted(
    t5, tmp_path, monkeypatch
):
    write_t5(t5, [str(n) for n in range(150)])  # T5 has 100 tokens besides those of its vocabulary
    with_sentencepiece(t5, "spiece.model")
    plain = score(t5)
    assert len(set(plain)) == 3
    pickled(t5)
    made = acclimate.convert_model(t5, tmp_path / "made")
    assert (made / "tokenizer.json").exists()
    monkeypatch.setattr("sentencepiece.SentencePieceProcessor", None)
    assert score(made) == plain


def test_a_deberta_with_spm_model_alone_is_converted(tmp_path):
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    folder = tmp_path / "deberta"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    kind = {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]}
    torch.manual_seed(0)
    config = DebertaV2Config(vocab_size=80, type_vocab_size=0, num_labels=1, **sizes, **kind)
    DebertaV2ForSequenceClassification(config).save_pretrained(folder)
    with_sentencepiece(folder, "spm.model")
    plain = score(folder)
    pickled(folder)
    made = acclimate.convert_model(folder, tmp_path / "made")
    assert score(made) == plain
    assert len(set(plain)) == 3


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model"])
def test_a_missing_tokenizer_library_is_named_with_the_command(t5, tmp_path, monkeypatch, name):
    write_t5(t5, WORDS)
    (t5 / "tokenizer.json").unlink()
    (t5 / name).write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    said = rf"{name}, a tokenizer, needs an optional package: pip install 'acclimate\[sentencepiece\]'"
    with pytest.raises(MissingExtra, match=said):
        score(t5)
    with pytest.raises(MissingExtra, match=said):
        check_model(str(t5))
    pickled(t5)
    with pytest.raises(MissingExtra, match=said):
        acclimate.convert_model(t5, tmp_path / "made")
