"""How a reranker computes while it learns: on how many cores, and what reads the held-out pairs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import transformers

from acclimate.base.digests import folder_fingerprint
from acclimate.records import Doc, NWay
from acclimate.stages.train import train

WORDS = ("rice", "bread", "soup", "stone", "iron", "glass")
CORPUS = {f"d{n}": Doc(f"d{n}", f"{word} " * (12 + 9 * n)) for n, word in enumerate(WORDS)}
EXAMPLES = [
    NWay(f"q{n:02}", (f"d{n % 3}", f"d{3 + n % 3}", f"d{3 + (n + 1) % 3}", f"d{(n + 1) % 3}")) for n in range(16)
]
TEXTS = {example.query_id: f"{WORDS[n % 3]} to eat" for n, example in enumerate(EXAMPLES)}


@pytest.fixture
def learn(tiny_encoder, tmp_path):
    """Call it to train on twelve of the examples with these settings; it returns the reranker's folder."""

    def learn(name, **settings):
        made = train(EXAMPLES[:12], EXAMPLES[12:], TEXTS, CORPUS, tmp_path / name, base=str(tiny_encoder), **settings)
        return made.path

    return learn


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_small_reranker_is_the_same_bytes_on_any_number_of_cores(learn, precision):
    before = torch.get_num_threads()
    try:
        made = []
        for n_cores in (1, 3):
            torch.set_num_threads(n_cores)
            made.append(learn(f"{n_cores}", precision=precision, batch_size=12, epochs=2))
    finally:
        torch.set_num_threads(before)
    assert folder_fingerprint(made[0]) == folder_fingerprint(made[1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pairs_that_nothing_is_learned_from_are_read_as_at_work(learn, precision, monkeypatch):
    learns = []
    model = transformers.BertForSequenceClassification
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda *args, **inputs: learns.append(torch.is_grad_enabled()) or forward(*args, **inputs)
    )
    learn("reranker", precision=precision)
    assert learns
    assert all(learns), "the library's own pass takes several times as long"
