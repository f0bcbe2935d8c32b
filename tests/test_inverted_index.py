"""The inverted index of sparse students: exact, however many tokens there are and wherever its making was killed."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

torch = pytest.importorskip("torch", reason="torch is not installed")


from acclimate.base import models
from acclimate.base.digests import folder_fingerprint
from acclimate.search.sparse import Head, build, centered, index_key
from acclimate.search.sparse_query import SparseQuery
from acclimate.search.vectors import Vectors, quantized


def random_head(rng, dim, size=50, live=30):
    return Head(
        np.sort(rng.choice(size, live, replace=False)).astype(np.int64),
        rng.normal(size=(live, dim)).astype(np.float32) / dim,
        rng.normal(size=live).astype(np.float32) - 0.3,
    )


def random_vectors(rng, dim=8, n_docs=70):
    lengths = rng.integers(1, 9, n_docs)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    tokens = rng.normal(size=(offsets[-1], dim)).astype(np.float32)
    return Vectors(
        np.zeros((n_docs, dim), np.float32), *(part.numpy() for part in quantized(torch.from_numpy(tokens))), offsets
    )


def dense_weights(vectors, head, size, most=0):
    """(n_docs, size) the plain way."""
    found = np.zeros((len(vectors.pooled), size), np.float32)
    for row in range(len(found)):
        tokens = centered(vectors.gather([row])[0])
        logits = (tokens @ head.weights.T).max(axis=0) + head.bias
        found[row, head.tokens] = np.log1p(np.maximum(logits, 0))
        if most:
            found[row, np.argsort(-found[row], kind="stable")[most:]] = 0
    return found


@pytest.mark.parametrize("most", [0, 5])
def test_the_inverted_index_scores_as_a_dense_product_does(tmp_path, monkeypatch, most):
    monkeypatch.setattr("acclimate.search.sparse._ENTRIES_AT_ONCE", 37)  # several blocks
    rng = np.random.default_rng(0)
    vectors, head = random_vectors(rng), random_head(rng, 8)
    index = build(vectors, head, 50, tmp_path, max_active_dims=most)
    expected = dense_weights(vectors, head, 50, most)
    assert index.active_dims == pytest.approx((expected > 0).sum() / 70)
    for _ in range(5):
        tokens = np.sort(rng.choice(50, 6, replace=False)).tolist()
        weights = rng.random(6).astype(np.float32)
        assert index.scores(tokens, weights) == pytest.approx(expected[:, tokens] @ weights, abs=1e-5)
    assert not index.scores([], np.empty(0, np.float32)).any()


def test_the_heaviest_tokens_of_many_are_found_and_weighed_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr("acclimate.search.sparse._TOKENS_AT_ONCE", 100)  # several blocks
    monkeypatch.setattr(models, "dtype", lambda: torch.bfloat16)
    rng = np.random.default_rng(2)
    vectors, head = random_vectors(rng, dim=32), random_head(rng, 32, size=900, live=700)
    index = build(vectors, head, 900, tmp_path, max_active_dims=20)
    expected = dense_weights(vectors, head, 900, 20)
    assert index.active_dims == 20
    for token in head.tokens.tolist():
        found = index.scores([token], np.ones(1, np.float32))
        assert found == pytest.approx(expected[:, token], abs=1e-5)


def test_an_index_without_a_single_weight_is_an_index(tmp_path):
    rng = np.random.default_rng(0)
    head = random_head(rng, 8)._replace(bias=np.full(30, -1000, np.float32))
    index = build(random_vectors(rng), head, 50, tmp_path, max_active_dims=0)
    assert index.active_dims == 0
    assert not index.scores([3, 4], np.ones(2, np.float32)).any()


@pytest.mark.parametrize("killed_at", [1, 2])
def test_a_killed_index_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch, killed_at):
    monkeypatch.setattr("acclimate.search.sparse._DOCUMENTS_AT_ONCE", 16)
    rng = np.random.default_rng(1)
    vectors, head = random_vectors(rng), random_head(rng, 8)
    build(vectors, head, 50, tmp_path / "whole", max_active_dims=0)
    calls, real = [], Head.heaviest

    def dies(self, *parts):
        calls.append(1)
        if len(calls) > killed_at:
            raise KeyboardInterrupt
        return real(self, *parts)

    monkeypatch.setattr(Head, "heaviest", dies)
    with pytest.raises(KeyboardInterrupt):
        build(vectors, head, 50, tmp_path / "killed", max_active_dims=0)
    with (tmp_path / "killed" / "values.part").open("ab") as file:
        file.write(b"half a ba")  # of the batch that was being written
    monkeypatch.setattr(Head, "heaviest", lambda self, *parts: (calls.append(2), real(self, *parts))[1])
    build(vectors, head, 50, tmp_path / "killed", max_active_dims=0)
    assert calls.count(2) == 5 - killed_at
    assert folder_fingerprint(tmp_path / "killed") == folder_fingerprint(tmp_path / "whole")
    (tmp_path / "killed" / "rows.part").write_bytes(b"left")  # the end came while they were removed
    build(vectors, head, 50, tmp_path / "killed", max_active_dims=0)
    assert calls.count(2) == 5 - killed_at  # made once
    assert folder_fingerprint(tmp_path / "killed") == folder_fingerprint(tmp_path / "whole")
    build(vectors, head._replace(bias=head.bias + 1), 50, tmp_path / "killed", max_active_dims=0)
    assert calls.count(2) == 10 - killed_at  # another head, another index


def test_an_index_is_of_one_head_and_so_many_vectors_and_dimensions_and_a_query_of_its_weights():
    heads = [random_head(np.random.default_rng(seed), 8) for seed in (0, 1)]
    keys = {index_key(heads[0], *numbers) for numbers in ((5, 9, 3), (6, 9, 3), (5, 8, 3), (5, 9, 4))}
    assert len({*keys, index_key(heads[1], 5, 9, 3)}) == 5
    assert len({SparseQuery(None, np.array(weights, np.float32)).fingerprint for weights in ([0, 1], [1, 0])}) == 2


def test_a_token_has_the_place_of_its_number_among_numbers_that_no_token_has():
    tokenizer = Tokenizer(WordLevel({"north": 0, "sea": 3}, unk_token="north"))
    assert SparseQuery(tokenizer, np.ones(5, np.float32)).vocabulary == ["north", "", "", "sea", ""]
