"""Dense students pool as their base does, and are cut to as many dimensions as asked everywhere."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from test_sparse_static import DEV, TRAIN

from acclimate.base.errors import SettingError
from acclimate.base.testing import DOCS, QUERIES
from acclimate.learn.students.dense import nested_cosines
from acclimate.learn.students.similarities import Similarities
from acclimate.search.encoded import Cut
from acclimate.search.encoder import Encoder
from acclimate.search.vectors import cut_vectors
from acclimate.stages.distill import distill


@pytest.mark.parametrize("name", ["dense", "dense-query"])
def test_a_dense_student_pools_as_its_base_does(base, data, tmp_path, name):
    other = base.copy()
    other.model[1] = Pooling(32, "cls")
    distill([(TRAIN, DEV)], other, data, tmp_path, student=(name,), epochs=1, batch_size=8)
    texts = [query.text for query in QUERIES[:4]]
    ours = Encoder.load_student(tmp_path / "dense", max_tokens=64).encode(texts)
    plain = SentenceTransformer(str(tmp_path / "dense"), device="cpu").encode_query(texts)
    assert np.stack([one.pooled for one in ours]) == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("name", ["dense", "dense-query"])
def test_a_cut_dense_student_is_cut_everywhere(base, data, tmp_path, name):
    learn = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    notes = distill([(TRAIN, DEV)], base, data, tmp_path, student=(name,), matryoshka=(16,), dim=8, **learn)["dense"]
    assert (notes["dim"], notes["trained_dims"]) == (8, (8, 16))
    plain = SentenceTransformer(str(tmp_path / "dense"), device="cpu")
    ours = Cut(Encoder.load_student(tmp_path / "dense", max_tokens=64), 8)
    texts = [query.text for query in QUERIES[:4]]
    found = np.stack([one.pooled for one in ours.encode(texts)])
    assert found.shape == (4, 8)
    assert found == pytest.approx(plain.encode_query(texts), abs=0.02)  # in half precision where that is fast
    vectors = cut_vectors(data.vectors, 8, tmp_path / "cut")
    assert vectors.pooled.nbytes * 4 == data.vectors.pooled.nbytes
    if name == "dense-query":
        document = plain.encode_document([DOCS[0].default_text()])[0]
        assert vectors.pooled[0] == pytest.approx(document, abs=0.02)


def test_nested_log_probabilities_are_the_mean_over_lengths():
    rng = torch.Generator().manual_seed(0)
    queries, documents = (torch.nn.functional.normalize(torch.randn(n, 8, generator=rng), dim=-1) for n in (2, 5))
    unit = torch.nn.functional.normalize
    parts = [
        torch.log_softmax(unit(queries[:, :dim], dim=-1) @ unit(documents[:, :dim], dim=-1).T / 0.1, dim=-1)
        for dim in (8, 4)
    ]
    cosines = nested_cosines(queries, documents, (4,))
    together = Similarities(cosines, torch.arange(5).expand(2, -1)).log_probs(0.1)
    assert torch.allclose(together, (parts[0] + parts[1]) / 2, atol=1e-5)
    assert not torch.allclose(together, parts[0], atol=1e-2)


@pytest.mark.parametrize("wrong", [{"dim": 33}, {"dim": -1}, {"matryoshka": (0,)}, {"matryoshka": (8, 64)}])
def test_lengths_that_vectors_do_not_have_are_refused(base, data, tmp_path, wrong):
    with pytest.raises(SettingError, match=r"have 32 components|expected"):
        distill([(TRAIN, DEV)], base, data, tmp_path, student=("dense-query",), **wrong)
