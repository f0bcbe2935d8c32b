"""Models' folders: what in them is never read."""

from __future__ import annotations

import json

import pytest

from acclimate.base import models
from acclimate.base.errors import DataError


def test_no_module_of_a_model_is_read_from_a_pickle(tmp_path):
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "", "type": "x.Transformer"}, {"path": "1_LSTM"}]))
    (tmp_path / "1_LSTM").mkdir()
    for name in ("model.safetensors", "training_args.bin"):  # beside weights that are read, a pickle is not
        (tmp_path / name).touch()
    models.check_modules(tmp_path)
    (tmp_path / "1_LSTM" / "pytorch_model.bin").touch()
    with pytest.raises(DataError, match=r"1_LSTM: no \*.safetensors"):
        models.check_modules(tmp_path)
