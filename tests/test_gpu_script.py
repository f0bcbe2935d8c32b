"""The script for a machine with a GPU, on this one: what it makes, and that a part which fails leaves the others."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn.functional import normalize

from acclimate.base.testing import DOCS
from acclimate.search.vectors import quantized

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu(monkeypatch):
    return script("gpu", monkeypatch)


@pytest.mark.slow
def test_a_run_is_made_and_everything_is_where_it_should_be(gpu, tiny_encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "STUDENTS", ("static",))
    asked = []
    misplaced = gpu.misplaced
    monkeypatch.setattr(gpu, "misplaced", lambda model: (asked.append(type(model).__name__), misplaced(model))[1])
    sets = [f"--set={stage}.base={tiny_encoder}" for stage in ("distill", "train")]
    assert gpu.main(["--out", str(tmp_path), "--device-check", *sets]) == 0
    assert capsys.readouterr().out.endswith("all stages were made, and everything is where it should be\n")
    assert len(asked) > 5  # of the base, behind each stage that has loaded it


def test_a_part_that_fails_leaves_the_others_and_what_they_made(gpu, tmp_path, monkeypatch, capsys):
    code = {
        "answers": "print('as the CPU')",
        "stages": "print('begun'); raise RuntimeError('CUDA error: an illegal memory access was encountered')",
        "queries": "import time; print('slow', flush=True); time.sleep(60)",
        "writing": "print('100 queries a second')",
        "rates": "print('| a table |')",
        "profile": "raise SystemExit(1)",
    }
    monkeypatch.setattr(gpu, "command_of", lambda name, given: [sys.executable, "-c", code[name]])
    output_of = gpu.output_of
    monkeypatch.setattr(
        gpu,
        "output_of",
        lambda command, log, left, say: output_of(command, log, 1 if "sleep" in command[-1] else left, say),
    )
    assert gpu.main(["--out", str(tmp_path), "--write"]) == 1
    said = capsys.readouterr().out
    assert said == (tmp_path / "gpu.txt").read_text()
    assert "illegal memory access" in said
    faults = said.splitlines()[-4:]
    assert [fault.split(":")[0] for fault in faults[:3]] == ["stages", "queries", "profile"]
    assert "stays as it is, without profile" in faults[3]
    page = (tmp_path / "performance.md").read_text()
    assert "- 100 queries a second\n\n| a table |\n" in page


def test_parts_for_which_no_time_is_left_are_named(gpu, tmp_path, capsys):
    assert gpu.main(["--out", str(tmp_path), "--parts", "answers,rates", "--seconds", "0"]) == 1
    assert capsys.readouterr().out.endswith("answers: no time was left\nrates: no time was left\n")


def test_every_part_is_a_script_that_takes_what_it_is_given(gpu, tmp_path):
    given = SimpleNamespace(out=tmp_path, corpus="pydocs", memory=0.5, settings=["sample.n_docs=9"])
    for name in gpu.PARTS:
        command = gpu.command_of(name, given)
        assert Path(command[1]).is_file()
    assert f"--students={gpu.STUDENTS[1]}" in gpu.command_of("queries", given)


@pytest.mark.parametrize(("error", "code"), [(1e-6, 0), (1e-2, 1)])
def test_a_device_that_rounds_otherwise_is_at_no_fault_and_one_that_computes_otherwise_is(
    error, code, monkeypatch, capsys
):
    checks = script("device_answers", monkeypatch)
    draws = np.random.default_rng(0)
    vectors = normalize(torch.from_numpy(draws.normal(size=(2000, 384)).astype(np.float32)))

    def answers(docs, reranker, folder):
        noise = 0 if folder.name == "cpu" else torch.from_numpy(np.random.default_rng(1).normal(0, error, (2000, 384)))
        numbers, scales = quantized((vectors + noise).float())
        return {"pooled vectors": (vectors + noise).numpy(), "stored tokens": (numbers * scales[:, None]).numpy()}

    monkeypatch.setattr(checks, "answers", answers)
    monkeypatch.setattr(checks, "drawn", str)
    monkeypatch.setattr(checks.collections, "load", lambda *_: SimpleNamespace(corpus={"d": DOCS[0]}))
    assert checks.main(["--docs", "1"]) == code
    assert ("stored tokens: " in capsys.readouterr().out) == bool(code)
