"""ONNX: what a graph computes is what the run does, and what eight bits lose is said."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import acclimate
from acclimate.base.errors import DataError, MissingExtra
from acclimate.base.requirements import outdated

if too_old := [*outdated("onnx")]:
    pytest.skip(f"ONNX needs {too_old[0]}", allow_module_level=True)


@pytest.mark.slow
def test_graphs_compute_our_vectors_and_what_eight_bits_lose_is_said(finished, tmp_path):
    export = acclimate.open(finished).export("onnx", tmp_path / "out", system="dense")
    assert export.counts == {"graphs": 4}
    vectors = []
    for task in ("query", "document"):
        folder = export.folder / "dense" / task / "onnx"
        assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model_int8.onnx"]
        assert export.manifest["notes"][f"dense {task} model.onnx"]["lowest"] > 0.999
        assert export.manifest["notes"][f"dense {task} model_int8.onnx"]["lowest"] > 0.9
        blocks = re.findall(r"```python\n(.*?)```", (folder.parent / "README.md").read_text(), re.DOTALL)
        assert len(blocks) == 3  # sentence-transformers, transformers, onnxruntime
        for block in blocks:
            names = {}
            exec(block.replace("FOLDER", str(folder.parent)).replace("a text", "lava and ash"), names)
            (vector,) = np.asarray(names["vectors"])
            vectors.append(vector)
    np.testing.assert_allclose(vectors, [vectors[0]] * len(vectors), atol=1e-4)  # the base encodes both sides
    assert export.manifest["notes"]["top ten model.onnx"] == pytest.approx(1, abs=0.02)
    assert "nDCG@10" in str(export)
    assert "without ONNX" in str(export)


def test_a_system_without_a_dense_encoder_has_no_graph(finished, tmp_path):
    with pytest.raises(DataError, match="bm25 has no dense encoder, the only kind exported to ONNX"):
        acclimate.open(finished).export("onnx", tmp_path / "out", system="bm25")


def test_what_is_missing_is_named(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(
        MissingExtra, match=r"An export to ONNX needs an optional package: pip install 'acclimate\[onnx"
    ):
        acclimate.open(finished).export("onnx", tmp_path / "out", system="dense")
