"""Cross-encoders read at most as many tokens as asked for, and as their positions allow."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from acclimate.search.scorers import cross_encoder
from acclimate.search.scorers.pairs import Lengths


class Positioned(torch.nn.Module):
    """A cross-encoder with so many learned positions; 0: none, as with rotary ones."""

    num_labels, config, tokenizer = 1, SimpleNamespace(id2label={0: "LABEL_0"}, name_or_path="m"), None

    def __init__(self, positions: int, padding: int | None = None) -> None:
        super().__init__()
        if positions:
            self.position_embeddings = torch.nn.Embedding(positions, 1, padding_idx=padding)

    def __getitem__(self, index: int):
        return SimpleNamespace(model=None)


@pytest.mark.parametrize("is_bert", [True, False])
@pytest.mark.parametrize(
    ("model", "positions"), [(Positioned(64), 64), (Positioned(66, padding=1), 64), (Positioned(0), sys.maxsize)]
)
def test_a_reader_truncates_to_what_is_asked_for_or_to_the_positions_of_its_model(
    is_bert, model, positions, monkeypatch
):
    monkeypatch.setattr(cross_encoder, "is_bert", lambda _: is_bert)
    monkeypatch.setattr(cross_encoder, "BertReader", lambda *given, **_: SimpleNamespace(lengths=given[2]))
    monkeypatch.setattr(cross_encoder, "_half_precision", lambda each: each)
    for asked in (16, 64, 65, 500):
        reader = cross_encoder.reader_of(model, Lengths(asked, 9))
        assert reader.lengths == (min(asked, positions), 9)
