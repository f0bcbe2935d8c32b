"""Importing acclimate, its pipeline and its command line is quick: no library that computes is loaded by it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "sentence_transformers", "datasets", "bm25s", "ir_measures")


@pytest.mark.parametrize(
    "module", ["acclimate", "acclimate.stages.chain", "acclimate.cli.main", "acclimate.base.testing"]
)
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
