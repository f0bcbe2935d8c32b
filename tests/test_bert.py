"""The forward pass that is written out: the numbers of transformers' own, and of a text the same in any company."""

from __future__ import annotations

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from fake_device import NAME, Elsewhere
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from acclimate.base import models
from acclimate.base.testing import DOCS, QUERIES
from acclimate.records import Query
from acclimate.search import inference
from acclimate.search.bert import Bert
from acclimate.search.encoder import Encoder
from acclimate.search.scorers.bert_pairs import BertReader
from acclimate.search.scorers.cross_encoder import CrossEncoderReader, CrossEncoderScorer, is_bert
from acclimate.search.scorers.pairs import Lengths

CORPUS = {doc.doc_id: doc for doc in DOCS}
TEXTS = ["", "moon", *(doc.default_text() for doc in DOCS[:9]), " ".join(doc.text for doc in DOCS), "rice and fish"]
PAIRS = [(query, doc.doc_id) for query in [*QUERIES[:2], Query("e", "")] for doc in DOCS[:6]]


# Sizes that fill no register, every activation, positions that begin behind padding.
def sizes(hidden, heads, intermediate, act="gelu"):
    return {"hidden_size": hidden, "num_attention_heads": heads, "intermediate_size": intermediate, "hidden_act": act}


SHAPES = {
    "bert": (BertConfig, sizes(36, 3, 50)),
    "one head": (BertConfig, sizes(24, 1, 40, "relu")),
    "tanh": (BertConfig, sizes(32, 4, 64, "gelu_new")),
    "silu": (BertConfig, sizes(48, 2, 33, "silu")),
    "roberta": (RobertaConfig, sizes(40, 5, 72)),
    "xlm-roberta": (XLMRobertaConfig, sizes(32, 2, 90)),
    "camembert": (CamembertConfig, sizes(32, 2, 64, "gelu_pytorch_tanh")),
}
POOLINGS = ["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ("mean", "cls")]
DTYPES = [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.skipif(not models.fast_bf16(), reason="slow"))]


@pytest.fixture
def written(tiny_encoder, tmp_path):
    """Write a model of a shape with random weights, large enough to tell tokens apart; returns its folder."""

    def write(shape, auto=AutoModel, **given):
        kind, of_shape = SHAPES[shape]
        tokenizer = AutoTokenizer.from_pretrained(str(tiny_encoder))
        config = kind(
            vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, max_position_embeddings=80,
            num_hidden_layers=2, initializer_range=0.3, type_vocab_size=2, **of_shape, **given,
        )  # fmt: skip
        torch.manual_seed(3)
        model = auto.from_config(config)
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(weight, std=0.3)
        model.save_pretrained(tmp_path / "transformer")
        tokenizer.save_pretrained(tmp_path / "transformer")
        return tmp_path / "transformer"

    return write


@pytest.fixture
def computed_in(monkeypatch):
    return lambda dtype: monkeypatch.setattr(models, "dtype", lambda: dtype)


def encoder_of(folder, *behind, kind=SentenceTransformer, prompts=None):
    model = kind(modules=[Transformer(str(folder)), *behind], prompts=prompts or {}, device="cpu")
    return Encoder(model, name="tiny", weights="w", max_tokens=64)


def generic(monkeypatch, encoder):
    """The same encoder, read by the library that made it."""
    with monkeypatch.context() as patch:
        patch.setattr(inference, "_is_bert", lambda model: False)
        same = Encoder(encoder.model, name="tiny", weights="w", max_tokens=64, prompts=encoder.prompts)
        same.encode(["moon"])
    return same


def assert_same(found, expected, dtype):
    for one, other in zip(found, expected, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            assert ours.shape == theirs.shape
            if dtype == torch.float32:
                assert ours == pytest.approx(theirs, abs=1e-5)
            else:  # weights as wild as these make much of rounding: vectors of unit length
                assert (ours * theirs).sum(-1).min() > 0.998


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_vectors_are_those_of_the_generic_way(shape, dtype, written, computed_in, monkeypatch):
    computed_in(dtype)
    pooling = POOLINGS[list(SHAPES).index(shape)]
    folder = written(shape)
    size = SHAPES[shape][1]["hidden_size"]
    encoder = encoder_of(folder, Pooling(size, pooling), prompts={"query": "rice : "})
    assert inference._is_bert(encoder.model)
    vectors = {task: encoder.encode(TEXTS, task) for task in ("query", "document")}
    computed_in(torch.float32)
    plain = generic(monkeypatch, encoder)
    for task, of_task in vectors.items():
        assert_same(of_task, plain.encode(TEXTS, task), dtype)


def test_prompts_that_are_not_pooled_and_tokens_that_are_not_attended_to(written, computed_in, monkeypatch):
    computed_in(torch.float32)
    folder = written("bert")
    left_out = encoder_of(folder, Pooling(36, "mean", include_prompt=False), prompts={"document": "rice : "})
    assert_same(
        left_out.encode(TEXTS, "document"), generic(monkeypatch, left_out).encode(TEXTS, "document"), torch.float32
    )
    names = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    for expansion in ({"strategy": "fixed", "length": 12}, {"strategy": "min", "length": 12, "attend": True}):
        transformer = Transformer(str(folder))
        transformer.query_expansion = expansion
        behind = [Dense(36, 8, bias=False, **names), MultiVectorMask([",", "."]), Normalize(*names.values())]
        late = Encoder(MultiVectorEncoder(modules=[transformer, *behind], device="cpu"), name="t", weights="w")
        assert inference._is_bert(late.model)
        assert_same(late.encode(TEXTS), generic(monkeypatch, late).encode(TEXTS), torch.float32)


@pytest.mark.parametrize(
    ("dtype", "takes_tiles"), [(torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_text_has_the_same_bytes_in_any_company(shape, dtype, takes_tiles, written, computed_in, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: takes_tiles)
    computed_in(dtype)
    size = SHAPES[shape][1]["hidden_size"]
    encoder = encoder_of(written(shape), Pooling(size, "mean"), Dense(size, 20), Normalize())
    assert encoder.is_batch_invariant == (dtype == torch.float32)  # larger shapes than these are not in bfloat16
    if not models.on_onednn(torch.device("cpu"), dtype):
        return
    alone = [encoder.encode([text])[0] for text in TEXTS]
    rng = random.Random(shape)
    for _ in range(3):
        rows = rng.choices(range(len(TEXTS)), k=rng.randrange(2, 80))
        for row, one in zip(rows, encoder.encode([TEXTS[row] for row in rows]), strict=True):
            assert np.array_equal(one.pooled, alone[row].pooled)
            assert np.array_equal(one.tokens, alone[row].tokens)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_encoder_of_a_usual_size_that_says_so_is_batch_invariant_in_any_company(
    dtype, written, computed_in, monkeypatch
):
    """oneDNN chooses how to add up by the sizes of a product: what is so of small ones need not be so of large ones."""
    monkeypatch.setitem(SHAPES, "usual", (BertConfig, sizes(384, 12, 1536)))
    computed_in(dtype)
    encoder = encoder_of(written("usual"), Pooling(384, "mean"))
    texts = [" ".join(["moon", "rice"] * n_words) for n_words in range(1, 24)]
    alone = [encoder.encode([text])[0].pooled for text in texts]
    calls = [texts] if encoder.is_batch_invariant else [[text] for text in texts]
    assert np.array_equal([one.pooled for call in calls for one in encoder.encode(call)], alone)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "labels"), [("bert", 1), ("silu", 3), ("roberta", 1), ("xlm-roberta", 2)])
def test_pairs_have_the_scores_of_the_generic_way_in_any_company(shape, labels, dtype, written, computed_in):
    computed_in(dtype)
    names = {label: "relevant" if label == labels - 1 else f"not {label}" for label in range(labels)}
    folder = written(
        shape, AutoModelForSequenceClassification, num_labels=labels, id2label=names,
        label2id={name: label for label, name in names.items()},
    )  # fmt: skip
    scorer = CrossEncoderScorer(str(folder), CORPUS, Lengths(64))
    assert type(scorer.reader()) is BertReader
    assert scorer.by_pair
    plain = CrossEncoderScorer(str(folder), CORPUS, Lengths(64))
    plain.__dict__["_reader"] = CrossEncoderReader(plain.model, Lengths(64))  # in float32
    scores, expected = scorer.score(PAIRS), plain.score(PAIRS)
    spread = max(expected) - min(expected)
    assert scores == pytest.approx(expected, abs=(1e-5 if dtype == torch.float32 else 0.05) * spread)
    assert [scorer.score([pair])[0] for pair in PAIRS] == scores
    rng = random.Random(shape)
    rows = rng.choices(range(len(PAIRS)), k=70)
    assert scorer.score([PAIRS[row] for row in rows]) == [scores[row] for row in rows]


def test_a_device_that_pads_has_the_same_numbers(written, computed_in, monkeypatch):
    computed_in(torch.float32)
    folder = written("bert")
    expected = encoder_of(folder, Pooling(36, "mean")).encode(TEXTS)
    classifier = written("roberta", AutoModelForSequenceClassification, num_labels=1)
    scores = CrossEncoderScorer(str(classifier), CORPUS, Lengths(64)).score(PAIRS)
    folder = written("bert")
    with monkeypatch.context() as patch, Elsewhere():
        patch.setattr(models, "device", lambda: NAME)
        patch.setattr(models, "fast_bf16", lambda: False)
        model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(36, "mean")], device=NAME)
        encoder = Encoder(model, name="tiny", weights="w", max_tokens=64)
        assert_same(encoder.encode(TEXTS), expected, torch.float32)
        classifier = written("roberta", AutoModelForSequenceClassification, num_labels=1)
        scorer = CrossEncoderScorer(str(classifier), CORPUS, Lengths(64))
        assert type(scorer.reader()) is BertReader
        assert not encoder.is_batch_invariant
        assert not scorer.by_pair
        assert scorer.score(PAIRS) == pytest.approx(scores, abs=1e-5)


def test_what_is_not_written_out_goes_the_generic_way(written):
    assert not Bert.runs(AutoModel.from_config(DistilBertConfig(dim=32, n_heads=2, n_layers=1, hidden_dim=32)))
    for given in (
        {"hidden_act": "quick_gelu"},
        {"is_decoder": True},
        {"is_decoder": True, "add_cross_attention": True},
    ):
        assert not Bert.runs(AutoModel.from_config(BertConfig(**SHAPES["bert"][1] | given, num_hidden_layers=1)))
    model = AutoModel.from_pretrained(written("bert"))
    assert Bert.runs(model)
    model.encoder.layer[0].output.dense = torch.nn.Sequential(model.encoder.layer[0].output.dense)  # as adapters do
    assert not Bert.runs(model)
    several = encoder_of(written("bert"), Pooling(36, "mean"))
    several.model[0].model.config.output_hidden_states = True
    assert not inference._is_bert(several.model)
    assert not is_bert(CrossEncoder(modules=[Transformer(str(written("bert"))), Pooling(36)], device="cpu"))


@pytest.mark.models
def test_vectors_of_the_embedded_model_are_those_of_sentence_transformers_in_float32():
    name = "embedded:all-minilm-l6-v2"
    plain = SentenceTransformer(str(models.folder(name)), device="cpu").encode(TEXTS, normalize_embeddings=True)
    found = np.stack([one.pooled for one in Encoder.load(name).encode(TEXTS, "document")])
    assert (found * plain).sum(-1).min() > 0.9999
