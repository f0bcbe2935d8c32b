"""Of a query encoder's words only those of its queries are trained; all others stay, and so does what it computes."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from distilling import DEV, LEARN, TRAIN, training_of

from acclimate.base.testing import QUERIES
from acclimate.learn.students import used_words
from acclimate.learn.students.used_words import only_words_of
from acclimate.search.encoder import Encoder
from acclimate.stages.distill import distill

TEXTS = [query.text for query in QUERIES]


def words_of(encoder):
    return encoder.transformer.get_input_embeddings()


@pytest.fixture
def learned(base, data, tmp_path):
    """Students distilled as a run does."""

    def learn(name):
        options = {**LEARN, "evaluations": 1, "student": ("dense-query", "late-interaction-query")}  # keeps the last
        distill([(TRAIN, DEV)], base, data, tmp_path / name, **options)
        return {kind: Encoder.load_student(tmp_path / name / kind) for kind in ("dense", "late-interaction")}

    return learn


def test_a_query_has_the_same_vectors_and_what_is_trained_is_put_back(base):
    encoder = base.copy()
    whole, n_words = words_of(encoder), words_of(encoder).num_embeddings
    before = [encoder.forward(encoder.features(encoder.tokenize([text], "query"), "query"))[0] for text in TEXTS[:4]]
    with only_words_of(encoder, TEXTS):
        assert words_of(encoder).num_embeddings < n_words
        for text, vector in zip(TEXTS[:4], before, strict=True):
            assert torch.equal(encoder.forward(encoder.features(encoder.tokenize([text], "query"), "query"))[0], vector)
        with torch.no_grad():
            words_of(encoder).weight += 1.0
    assert words_of(encoder) is whole
    moved = (whole.weight - words_of(base).weight).abs().amax(dim=1) > 0.5
    ids = {word for query in encoder.tokenize(TEXTS, "query") for word in query.ids}
    assert set(moved.nonzero()[:, 0].tolist()) == ids | {encoder.model.tokenizer.pad_token_id}


def test_students_learn_what_they_would_with_all_words(learned, base, monkeypatch):
    students = learned("used")
    monkeypatch.setattr(used_words, "only_words_of", lambda *_: nullcontext())
    others = learned("all")
    unused = torch.ones(words_of(base).num_embeddings, dtype=torch.bool)
    unused[[word for query in base.tokenize(TEXTS, "query") for word in query.ids]] = False
    assert unused.sum() > 10
    for kind, student in students.items():
        assert not torch.equal(words_of(student).weight, words_of(base).weight)
        assert torch.equal(words_of(student).weight[unused], words_of(base).weight[unused])  # AdamW would shrink them
        for mine, other in zip(student.encode(TEXTS), others[kind].encode(TEXTS), strict=True):
            assert mine.pooled == pytest.approx(other.pooled, abs=1e-4)


def test_embeddings_that_are_used_elsewhere_or_computed_otherwise_stay(base, monkeypatch):
    tied, scaled, without = base.copy(), base.copy(), base.copy()
    tied.transformer.again = torch.nn.Linear(1, 1)
    tied.transformer.again.weight = words_of(tied).weight

    class Scaled(torch.nn.Embedding):
        pass

    scaled.transformer.set_input_embeddings(Scaled(*words_of(scaled).weight.shape))
    models = [encoder.transformer for encoder in (tied, scaled, without)]
    tables = [words_of(encoder) for encoder in (tied, scaled, without)]
    with monkeypatch.context() as patch:
        patch.setattr(type(without.transformer), "get_input_embeddings", none_of(without.transformer))
        for encoder in (tied, scaled, without):
            with only_words_of(encoder, TEXTS):
                assert [model.embeddings.word_embeddings for model in models] == tables


def none_of(model):
    """A `get_input_embeddings` that this model has not, as models of characters have none."""

    def embeddings(self):
        if self is model:
            raise NotImplementedError
        return self.embeddings.word_embeddings

    return embeddings


def test_what_an_earlier_version_left_of_a_training_is_begun_again(base, data, tmp_path):
    training_of("dense-query", base, data, tmp_path / "left").run(lambda _: None)  # with all words
    encoder, steps = base.copy(), []
    with only_words_of(encoder, TEXTS):
        for name in ("left", "new"):
            training_of("dense-query", encoder, data, tmp_path / name).run(steps.append)
    assert steps == [*range(1, 9)] * 2
