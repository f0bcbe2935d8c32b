"""Importing acclimate, its pipeline and its command line is quick: no library that computes is loaded by it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from packaging.version import Version

from acclimate.cli.main import app

HEAVY = ("torch", "transformers", "sentence_transformers", "datasets", "bm25s", "ir_measures")
# Where one of these is imported, dozens of modules are.
NOT_AT_ONCE = (
    "acclimate.stages.chain",
    "acclimate.api.run",
    "acclimate.llm",
    "acclimate.corpus",
    "acclimate.base.models",
    "numpy",
    "sqlite3",
    "tomllib",
)


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


def test_no_help_loads_what_commands_work_with():
    tops = [name for name in app if not name.startswith("-")]
    commands = [[name, part] for name in tops for part in app[name] if not part.startswith("-")]  # those of groups
    commands += [[], *([name] for name in tops)]
    assert len(commands) > 40
    code = f"from acclimate.cli.main import main; assert not any(main([*words, '--help']) for words in {commands})"
    assert loaded_by(code, *HEAVY, *NOT_AT_ONCE) == []


@pytest.mark.parametrize(
    "arguments", [["adpt"], ["label"], ["label", "run", "--n-wys", "3"], ["adapt", "docs", "--ot"]]
)
def test_a_command_line_that_cannot_be_loads_no_more_than_help_does(arguments):
    code = f"from acclimate.cli.main import main; assert main({arguments}) == 2"
    assert loaded_by(code, *HEAVY, *NOT_AT_ONCE) == []


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_a_run_s_status_is_read_from_its_files_alone(json, finished):
    code = f"from acclimate.cli.main import main; assert main({['status', str(finished), *json]}) == 0"
    assert loaded_by(code, *HEAVY, *NOT_AT_ONCE) == []


def test_a_folder_without_a_run_is_refused_as_quickly(tmp_path):
    code = f"from acclimate.cli.main import main; assert main({['status', str(tmp_path)]}) == 2"
    assert loaded_by(code, *HEAVY, *NOT_AT_ONCE) == []


def test_documents_that_cannot_be_used_are_refused_before_models_are_looked_at(tmp_path):
    (tmp_path / "docs.txt").mkdir()
    arguments = ["adapt", str(tmp_path), "--out", "x", "--dry-run"]
    code = f"from acclimate.cli.main import main; assert main({arguments}) == 2"
    assert loaded_by(code, "torch", "transformers", "sentence_transformers") == []


def test_searching_by_words_alone_loads_no_model(finished):
    code = f"import acclimate; assert acclimate.open({str(finished)!r}).search('lava and ash', system='bm25')"
    assert loaded_by(code, "torch", "transformers", "sentence_transformers", "ir_measures") == []


@pytest.mark.parametrize("system", ["hybrid+reranker", "hybrid:adapted"])
def test_searching_with_vectors_loads_torch_and_no_library_of_models(system, finished):
    code = f"import acclimate; assert acclimate.open({str(finished)!r}).search('lava and ash', system={system!r})"
    sympy = ["sympy"] if Version(version("torch")) >= Version("2.13") else []  # older ones need it
    assert loaded_by(code, "torch", "transformers", "sentence_transformers", "sklearn", *sympy) == ["torch"]
