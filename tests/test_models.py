"""Models' folders: what in them is never read."""

from __future__ import annotations

import json
import sys

import pytest

from acclimate.base import models
from acclimate.base.errors import DataError
from acclimate.base.modules import max_positions


def test_no_module_of_a_model_is_read_from_a_pickle(tmp_path):
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "", "type": "x.Transformer"}, {"path": "1_LSTM"}]))
    (tmp_path / "1_LSTM").mkdir()
    for name in ("model.safetensors", "training_args.bin"):  # beside weights that are read, a pickle is not
        (tmp_path / name).touch()
    models.check_modules(tmp_path)
    (tmp_path / "1_LSTM" / "pytorch_model.bin").touch()
    with pytest.raises(DataError, match=r"1_LSTM: no \*.safetensors"):
        models.check_modules(tmp_path)


def test_a_fingerprint_is_of_weights_and_what_is_read_with_them_and_of_their_names(tmp_path):
    files = {"model.safetensors": "weights", "config.json": "{}", "merges.txt": "a b", "1_Pooling/config.json": "{}"}

    def fingerprint(number=0, **changes):
        folder = tmp_path / f"{number}"
        for name, text in {**files, **changes}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return models.weights_fingerprint(str(folder))

    others = [{name: f"{text} "} for name, text in files.items()] + [
        {"tokenizer.model": "x"},
        {"chat_template.jinja": "x"},
        {"2_Dense/config.json": ""},
    ]
    assert len({fingerprint(), *(fingerprint(n, **other) for n, other in enumerate(others, 1))}) == 8
    assert fingerprint(9, **{"README.md": "read by nobody"}) == (before := fingerprint())
    (tmp_path / "0" / "merges.txt").rename(tmp_path / "0" / "other.txt")
    assert models.weights_fingerprint(str(tmp_path / "0")) != before


def test_positions_begin_behind_the_padding_or_at_an_offset():
    torch = pytest.importorskip("torch")
    model = torch.nn.ModuleDict({"position_embeddings": torch.nn.Embedding(9, 1)})
    assert max_positions(torch.nn.ModuleDict()) == sys.maxsize
    assert max_positions(model) == 9
    model["embed_positions"] = torch.nn.Embedding(9, 1)
    model["embed_positions"].offset = 2
    assert max_positions(model) == 7
    model["wpe"] = torch.nn.Embedding(8, 1, padding_idx=1)
    assert max_positions(model) == 6


@pytest.mark.parametrize("kind", [{"architectures": ["HF_ColBERT"]}, {"architectures": ["ColBERT"]}, {}])
def test_a_model_of_colbert_is_told_by_its_architecture(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps(kind))
    assert models.is_late_interaction(tmp_path) is bool(kind)
