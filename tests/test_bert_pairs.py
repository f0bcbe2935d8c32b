"""A cross-encoder that is read of its files alone rates pairs as its library reads it, to the last bit."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("torch")

from tiny import write_cross_encoder

from acclimate.base.errors import SettingError
from acclimate.learn.rerankers.inference import equal_scores, fast_scoring
from acclimate.records import Doc, Query
from acclimate.search.scorers import bert_pairs
from acclimate.search.scorers.cross_encoder import CrossEncoderScorer, load, reader_of
from acclimate.search.scorers.pairs import Lengths, rate

TEXTS = [
    "lava and ash",
    "",
    "Étna  İstanbul 漢字\t#x",
    "[CLS] lava [MASK]",
    "ash " * 300,
    "a\0b \ud7ff",
    "[SEP] ash " * 12,
]
PAIRS = [(query, document) for query in TEXTS for document in TEXTS]


@pytest.fixture(scope="module")
def written(tiny_encoder, tmp_path_factory):
    return write_cross_encoder(tmp_path_factory.mktemp("cross"), tiny_encoder)


@pytest.fixture
def model(written, tmp_path):
    """A copy of the folder, to be changed."""
    return shutil.copytree(written, tmp_path / "model")


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def scores(reader):
    rows = reader.tokens(PAIRS)
    return rows["input_ids"], reader.logits(rows).tolist()


@pytest.mark.parametrize("max_tokens", [8, 24, 4096])
def test_pairs_are_read_as_the_library_reads_them(max_tokens, written, tmp_path):
    library = reader_of(load(written, max_tokens=max_tokens).eval(), Lengths(max_tokens))
    assert type(library) is bert_pairs.BertReader
    light = bert_pairs.load_reader(tmp_path / written, Lengths(max_tokens))
    assert scores(light) == scores(library)
    assert light.is_batch_invariant == library.is_batch_invariant
    assert light.lengths == library.lengths


def test_one_label_of_several_says_relevant(model):
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = tensors[name].repeat_interleave(2, 0) * tensors[name].new_tensor([[1.0], [-1.0]]).view(
            -1, *[1] * (tensors[name].dim() - 1)
        )
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    rewrite(model / "config.json", id2label={"0": "other", "1": "relevant"}, label2id={"other": 0, "relevant": 1})
    light = bert_pairs.load_reader(model, Lengths(24))
    assert light.label == 1
    assert scores(light) == scores(reader_of(load(str(model), max_tokens=24).eval(), Lengths(24)))
    rewrite(model / "config.json", id2label={"0": "one", "1": "two"}, label2id={"one": 0, "two": 1})
    with pytest.raises(SettingError, match="has the labels one, two"):
        bert_pairs.load_reader(model, Lengths(24))


def test_a_model_as_transformers_saves_it_is_known(model):
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (model / name).unlink()
    library = reader_of(load(str(model), max_tokens=24).eval(), Lengths(24))
    assert scores(bert_pairs.load_reader(model, Lengths(24))) == scores(library)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"architectures": ["BertModel"]}),
        ("config.json", {"id2label": {"0": "no", "1": "yes"}}),  # of which the file has one
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("tokenizer_config.json", {"do_lower_case": False}),  # not what tokenizer.json says
        ("tokenizer_config.json", {"model_input_names": ["input_ids", "attention_mask"]}),
        ("config_sentence_transformers.json", {"prompts": {"query": "query: "}}),
        ("config_sentence_transformers.json", {"model_type": "SentenceTransformer"}),
        ("modules.json", None),
        ("tokenizer.json", None),
        ("model.safetensors", None),
    ],
)
def test_what_is_not_known_is_left_to_the_library(name, changes, model):
    path = model / name
    if changes is None:
        path.write_bytes(path.read_bytes()[:60])
    else:
        rewrite(path, **changes)
    assert bert_pairs.load_reader(model, Lengths(24)) is None


def test_no_library_is_loaded_for_a_model_that_is_known(written, monkeypatch):
    monkeypatch.setattr(CrossEncoderScorer, "model", property(lambda _: pytest.fail("loaded")))
    scorer = CrossEncoderScorer(written, {"a": Doc("a", "ash")}, Lengths(24))
    assert len(scorer.score([(Query("q", "lava"), "a")])) == 1


def test_one_that_learns_is_read_as_at_work_and_chance_stays_chance(written):
    model = load(str(written), max_tokens=512).eval()
    short = [pair for pair in PAIRS if sum(map(len, pair)) < 1500]  # a long query is cut otherwise
    features = model.preprocess(short)
    rated = rate(reader_of(model, Lengths(512)), short)
    own = model.forward
    model.forward = lambda features: own(features)  # as the trainer has one of its own that computes in half precision
    placed = model.forward
    for known in (short, short[:1], []):
        with fast_scoring(model, 512, known) as scores:
            assert scores == rated[: len(known)]
            assert model(dict(features))["scores"][:, 0].tolist() == pytest.approx(rated, abs=1e-6)
    with equal_scores(model), fast_scoring(model, 512, short) as scores:
        assert scores is None
        assert not model(dict(features))["scores"].any()
    assert model.forward is placed
