"""Importing acclimate, its pipeline and its command line is quick: no library that computes is loaded by it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "sentence_transformers", "datasets", "bm25s", "ir_measures")


def loaded_by(code: str, *names: str) -> list[str]:
    """Which of these modules a process has loaded after some code."""
    code = f"import sys; {code}; print(*[name for name in {names!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1].split()  # behind what the code said


@pytest.mark.parametrize(
    "module", ["acclimate", "acclimate.stages.chain", "acclimate.cli.main", "acclimate.base.testing"]
)
def test_importing_loads_nothing_heavy(module):
    assert loaded_by(f"import {module}", *HEAVY) == []


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["search", "--help"], ["adapt", "--help"], ["inpars", "train", "--help"]]
)
def test_help_loads_neither_the_chain_nor_numpy(arguments):
    code = f"from acclimate.cli.main import main; assert main({arguments}) == 0"
    assert loaded_by(code, "acclimate.stages.chain", "acclimate.api.run", "numpy") == []


def test_documents_that_cannot_be_used_are_refused_before_models_are_looked_at(tmp_path):
    (tmp_path / "docs.txt").mkdir()
    arguments = ["adapt", str(tmp_path), "--out", "x", "--dry-run"]
    code = f"from acclimate.cli.main import main; assert main({arguments}) == 2"
    assert loaded_by(code, "torch", "transformers", "sentence_transformers") == []


def test_searching_by_words_alone_loads_no_model(finished):
    code = f"import acclimate; assert acclimate.open({str(finished)!r}).search('lava and ash', system='bm25')"
    assert loaded_by(code, "torch", "transformers", "sentence_transformers", "ir_measures") == []


@pytest.mark.parametrize("system", ["dense", "late-interaction", "hybrid+reranker", "hybrid:adapted"])
def test_searching_with_vectors_loads_torch_and_no_library_of_models(system, finished):
    code = f"import acclimate; assert acclimate.open({str(finished)!r}).search('lava and ash', system={system!r})"
    assert loaded_by(code, "torch", "transformers", "sentence_transformers", "sklearn", "sympy") == ["torch"]
