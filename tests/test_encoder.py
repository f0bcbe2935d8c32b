"""Encoders as people publish them: what acclimate reads of one is what its own library encodes."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling, MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tiny import write_tokenizer
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2Model

from acclimate.base import models
from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import DOCS, QUERIES
from acclimate.learn.students.training_data import TrainingData
from acclimate.records import Doc, NWay
from acclimate.search.encoder import Encoder
from acclimate.search.members import Ids
from acclimate.search.vectors import encode_corpus
from acclimate.stages.distill import distill

CORPUS = {doc.doc_id: doc for doc in DOCS}
TEXTS = [*(doc.default_text() for doc in DOCS[:5]), "one", "a, b. c"]
LATE = ["colbert", "colbert-min", "colbert-plain"]
PROMPTS = {"query": "query : ", "document": "passage : "}


def linear(into, **names):
    return Dense(32, into, bias=False, activation_function=torch.nn.Identity(), **names)


def make(kind, transformer):
    """A model of that kind on the tiny transformer, in evaluation mode."""
    torch.manual_seed(1)
    tokens = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    pool, normalize = Pooling(32, "mean"), Normalize()
    modules, prompts = {
        "plain": ([pool, normalize], {}),
        "not normalized": ([pool], {}),
        "first token": ([Pooling(32, "cls"), normalize], {"query": PROMPTS["query"]}),
        "prompts": ([pool, normalize], PROMPTS),
        "passage": ([pool, normalize], {"query": PROMPTS["query"], "passage": PROMPTS["document"]}),
        "prompts not pooled": ([Pooling(32, "mean", include_prompt=False), normalize], PROMPTS),
        "projected": ([pool, linear(24), normalize], PROMPTS),
        "colbert": ([linear(16, **tokens), MultiVectorMask([",", "."]), Normalize(*tokens.values())], PROMPTS),
        "colbert-min": ([linear(16, **tokens), MultiVectorMask(), Normalize(*tokens.values())], PROMPTS),
        "colbert-plain": ([MultiVectorMask(), Normalize(*tokens.values())], {}),
    }[kind]
    if kind == "colbert":
        transformer.document_length = 20
        transformer.query_expansion = {"strategy": "fixed", "length": 12}
    if kind == "colbert-min":
        transformer.query_expansion = {"strategy": "min", "length": 12, "attend": True}
    make = MultiVectorEncoder if kind in LATE else SentenceTransformer
    return make(modules=[transformer, *modules], prompts=prompts, device="cpu").eval()


KINDS = ["plain", "not normalized", "first token", "prompts", "passage", "prompts not pooled", "projected", *LATE]


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Vectors in float32 wherever the tests run, as the plain library computes them."""
    monkeypatch.setattr(models, "dtype", lambda: torch.float32)


@pytest.fixture(scope="module", params=KINDS)
def published(request, tiny_encoder, tmp_path_factory):
    """(kind, folder, the plain library's model)."""
    folder = tmp_path_factory.mktemp("model")
    plain = make(request.param, Transformer.load(str(tiny_encoder)))
    plain.save_pretrained(str(folder), create_model_card=False)
    return request.param, folder, plain


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def of_plain(model, texts, task):
    """Per text: the plain library's vectors, (dim,) or (n_tokens, dim)."""
    encode = model.encode_query if task == "query" else model.encode_document
    passage = {"prompt_name": "passage"} if task == "document" and "passage" in model.prompts else {}
    return [unit(torch.as_tensor(encode([text], **passage)[0]).numpy()) for text in texts]


def test_vectors_are_the_librarys_own(published):
    kind, folder, plain = published
    encoder = Encoder.load(str(folder), max_tokens=64)
    assert encoder.is_late_interaction == (kind in LATE)
    for task in ("query", "document"):
        found = encoder.encode(TEXTS, task)
        for one, expected in zip(found, of_plain(plain, TEXTS, task), strict=True):
            ours = one.tokens if kind in LATE else one.pooled
            assert ours.shape == expected.shape
            assert ours == pytest.approx(expected, abs=1e-5)
            assert np.linalg.norm(one.pooled) == pytest.approx(1, abs=1e-5)
            assert one.tokens.shape[1] == encoder.token_dim


def test_a_text_without_words_has_a_vector(published):
    _, folder, _ = published
    encoder = Encoder.load(str(folder), max_tokens=64)
    for task in ("query", "document"):
        (found,) = encoder.encode([""], task)
        assert len(found.tokens) > 0
        assert np.isfinite(found.pooled).all()


def test_students_begun_from_it_load_with_the_plain_library(published, tmp_path):
    kind, folder, _ = published
    base = Encoder.load(str(folder), max_tokens=64)
    vectors = encode_corpus(base, CORPUS, tmp_path / "vectors")
    assert vectors.pooled.shape == (len(DOCS), base.dim)
    assert vectors.tokens.shape[1] == base.token_dim
    data = TrainingData({query.query_id: query.text for query in QUERIES}, CORPUS, Ids(list(CORPUS)), vectors)
    lists = [
        NWay(query.query_id, (doc.doc_id, DOCS[at - 1].doc_id, DOCS[at - 2].doc_id), (1.0, 0.4, 0.1))
        for at, (query, doc) in enumerate(zip(QUERIES[:8], DOCS[:8], strict=True))
    ]
    names = ["late-interaction", "late-interaction-query"]
    if kind not in LATE:  # each trains in two of the four ways, so that each way is that of several kinds
        names = [["late-interaction-query", "dense"], ["late-interaction", "dense-query"]][KINDS.index(kind) % 2]
    for name in names:
        made = tmp_path / name
        (learned,) = distill([(lists, lists)], base, data, made, student=(name,), epochs=1, learning_rate=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = {"dense": SentenceTransformer, "late-interaction": MultiVectorEncoder}[learned](
                str(made / learned), device="cpu"
            )
        student = Encoder.load_student(made / learned, max_tokens=64)
        documents = base if name.endswith("-query") else student
        for task, ours in (("query", student), ("document", documents)):
            for one, expected in zip(ours.encode(TEXTS, task), of_plain(plain, TEXTS, task), strict=True):
                found = one.pooled if learned == "dense" else one.tokens
                assert found.shape == expected.shape
                assert found == pytest.approx(expected, abs=1e-4)
        moved = student.encode(TEXTS)[0].tokens - base.encode(TEXTS)[0].tokens
        assert np.abs(moved).max() > 1e-4


def test_prompts_can_be_given_and_taken_away(tiny_encoder, tmp_path):
    make("prompts", Transformer.load(str(tiny_encoder))).save_pretrained(str(tmp_path), create_model_card=False)
    bare = Encoder.load(str(tiny_encoder), max_tokens=64)
    own = Encoder.load(str(tmp_path), max_tokens=64)
    given = Encoder.load(str(tiny_encoder), max_tokens=64, prompts=PROMPTS)
    without = Encoder.load(str(tmp_path), max_tokens=64, prompts={"query": "", "document": ""})
    for task in ("query", "document"):
        prompted = bare.encode([PROMPTS[task] + text for text in TEXTS], task)
        for found, expected in ((given, prompted), (own, prompted), (without, bare.encode(TEXTS, task))):
            for one, other in zip(found.encode(TEXTS, task), expected, strict=True):
                assert one.pooled == pytest.approx(other.pooled, abs=1e-6)
    assert len({bare.fingerprint, given.fingerprint, Encoder.load(str(tiny_encoder), max_tokens=32).fingerprint}) == 3


def test_a_corpus_is_read_as_documents_and_again_by_another_encoder_or_in_another_format(tiny_encoder, tmp_path):
    model = make("prompts not pooled", Transformer.load(str(tiny_encoder)))
    model.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    texts = [doc.default_text() for doc in DOCS]
    for document, format in (("passage : ", "int8"), ("text : ", "int8"), ("text : ", None), ("text : ", "int4")):
        prompts = {"query": "what is the answer to : ", "document": document}
        encoder = Encoder.load(str(tmp_path / "model"), max_tokens=64, prompts=prompts)
        found = encode_corpus(encoder, CORPUS, tmp_path / "vectors", tokens_as=format)
        assert found.token_format == format
        assert found.pooled == pytest.approx(
            np.stack([one.pooled for one in encoder.encode(texts, "document")]), abs=1e-4
        )


def test_what_cannot_be_a_base_says_so(tiny_encoder, data, base, tmp_path):
    lists = [NWay(QUERIES[0].query_id, (DOCS[0].doc_id, DOCS[1].doc_id), (1.0, 0.0))]
    distill([(lists, lists)], base, data, tmp_path, student=("dense-query",), epochs=0)
    with pytest.raises(SettingError, match="expected one model for both"):
        Encoder.load(str(tmp_path / "dense"))
    colbert = tmp_path / "colbert"
    make("colbert", Transformer.load(str(tiny_encoder))).save_pretrained(str(colbert), create_model_card=False)
    for name in ("dense", "dense-query", "sparse", "sparse-query", "static"):
        with pytest.raises(SettingError, match="late-interaction-query"):
            distill([(lists, lists)], Encoder.load(str(colbert)), data, tmp_path, student=(name,), base="org/colbert")

    pooled = tmp_path / "pooled"
    shorter = MultiVectorEncoder(
        modules=[Transformer.load(str(tiny_encoder)), MultiVectorMask(), HierarchicalTokenPooling(2)]
    )
    shorter.save_pretrained(str(pooled), create_model_card=False)
    with pytest.raises(SettingError, match="HierarchicalTokenPooling; expected a Transformer, with a vector for each"):
        Encoder.load(str(pooled))
    words = tmp_path / "words"
    static = StaticEmbedding(Tokenizer.from_file(str(tiny_encoder / "tokenizer.json")), embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save_pretrained(str(words), create_model_card=False)
    with pytest.raises(SettingError, match="made of StaticEmbedding; expected a Transformer"):
        Encoder.load(str(words))
    projected = tmp_path / "projected"
    make("projected", Transformer.load(str(tiny_encoder))).save_pretrained(str(projected), create_model_card=False)
    with pytest.raises(SettingError, match="24 components of tokens with 32"):
        distill([(lists, lists)], Encoder.load(str(projected)), data, tmp_path, student=("static",))
    weights = next(projected.glob("*_Dense/model.safetensors"))
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(DataError, match="pickled weights are never loaded"):
        Encoder.load(str(projected))
    pooling = shutil.copytree(tiny_encoder, tmp_path / "wider") / "1_Pooling" / "config.json"
    pooling.write_text('{"embedding_dimension": 40, "pooling_mode": "mean"}')
    with pytest.raises(DataError, match="wider: it gives vectors of 32 dimensions; expected 40, by its modules"):
        Encoder.load(str(pooling.parents[1]))


def test_what_a_model_says_of_its_use_is_part_of_it(tiny_encoder, tmp_path):
    folder = tmp_path / "model"
    make("plain", Transformer.load(str(tiny_encoder))).save_pretrained(str(folder), create_model_card=False)
    before = models.weights_fingerprint(str(folder))
    config = folder / "config_sentence_transformers.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prompts": PROMPTS}))
    assert models.weights_fingerprint(str(folder)) != before


def test_a_checkpoint_of_colbert_is_read_as_the_library_reads_it(tiny_encoder, tmp_path):
    weights = {f"bert.{name}": value for name, value in load_file(tiny_encoder / "model.safetensors").items()}
    torch.manual_seed(0)
    save_file(weights | {"linear.weight": torch.randn(16, 32)}, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tiny_encoder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_encoder / name, tmp_path)
    said = {"dim": 16, "query_maxlen": 12, "doc_maxlen": 20, "mask_punctuation": True, "attend_to_mask_tokens": False}
    (tmp_path / "artifact.metadata").write_text(json.dumps(said))
    plain, encoder = MultiVectorEncoder(str(tmp_path), device="cpu"), Encoder.load(str(tmp_path), max_tokens=64)
    assert (encoder.is_late_interaction, encoder.token_dim) == (True, 16)
    for task in ("query", "document"):
        for one, expected in zip(encoder.encode(TEXTS, task), of_plain(plain, TEXTS, task), strict=True):
            assert one.tokens == pytest.approx(expected, abs=1e-5)
    assert {len(one.tokens) for one in encoder.encode(TEXTS)} == {12}


def test_a_decoder_that_pads_on_the_left_and_marks_nothing(tmp_path):
    n_tokens = write_tokenizer(tmp_path / "qwen")
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    Qwen2Model(Qwen2Config(vocab_size=n_tokens + 8, intermediate_size=32, **size)).save_pretrained(tmp_path / "qwen")
    modules = [Transformer(str(tmp_path / "qwen")), Pooling(32, "lasttoken")]
    plain = SentenceTransformer(modules=modules, device="cpu").eval()
    plain.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    encoder = Encoder.load(str(tmp_path / "model"), max_tokens=512)
    encoder.model.tokenizer.padding_side = "left"
    together = encoder.encode([*TEXTS, ""], "document")
    for one, expected in zip(together, of_plain(plain, TEXTS, "document"), strict=False):
        assert one.pooled == pytest.approx(expected, abs=1e-5)
    corpus = {str(at): Doc(str(at), text) for at, text in enumerate(["one", "", "two"])}
    vectors = encode_corpus(encoder, corpus, tmp_path / "vectors")
    assert np.isfinite(vectors.max_sim(together[-1].tokens, np.arange(3))).all()


SAVED = {
    "config_sentence_transformers.json": {"model_type": "ColBERT"},
    "config.json": {"architectures": ["HF_ColBERT"]},
}


@pytest.mark.parametrize("name", SAVED)
def test_models_of_pylate_and_colbert_are_known_for_what_they_are(name, tmp_path):
    assert not models.is_late_interaction(tmp_path)
    (tmp_path / name).write_text(json.dumps(SAVED[name]))
    assert models.is_late_interaction(tmp_path)
