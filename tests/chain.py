"""Helpers for tests of the whole chain: small settings, a fake LLM, and the contents of a run for comparison.

The runs themselves are fixtures: `run_adapt`, `corpus`, `finished` and `copied` of conftest.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import acclimate.llm
from acclimate import llm
from acclimate.base.testing import DOCS, QRELS, QUERIES, FakeLLM
from acclimate.llm.completions import Completions
from acclimate.records import Doc

SERVED = llm.load  # the real one, before the fake replaces it
STAGES = ["index", "sample", "generate", "filter", "steer", "mine", "train", "label", "distill", "evaluate"]
SMALL = """
sample.n_docs=36 sample.dev_share=0.3 sample.min_chars=40 index.max_tokens=48 generate.max_doc_tokens=30
mine.n_ways=3 train.batch_size=4 train.max_tokens=48 train.evaluations=2 label.n_ways=8 distill.epochs=2
evaluate.rerank_depth=5
""".split()
FAST = ("distill.student=dense-query", "distill.epochs=1", "evaluate.max_queries=6")
HOSTILE = "<script>alert('volcano')</script>"


class CountingLLM(FakeLLM):
    """A fake LLM that counts the prompts it answers."""

    asked = 0

    def complete(self, prompts):
        type(self).asked += len(prompts)
        return super().complete(prompts)


@contextmanager
def fake_answers() -> Iterator[None]:
    """Replace every LLM by the fake (not in subprocesses)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acclimate.llm, "load", lambda name, **_: CountingLLM())
        yield


def tiny_models(encoder: Path) -> list[str]:
    """Settings with the tiny models: this encoder, and the LLM beside it, whose answers are a fake's."""
    return [f"generate.llm={encoder.with_name('llm')}", f"train.base={encoder}", f"distill.base={encoder}"]


def write_corpus(path: Path, docs=tuple(DOCS)) -> Path:
    path.write_text("".join(json.dumps({"_id": d.doc_id, "title": d.title, "text": d.text}) + "\n" for d in docs))
    return path


def documents_of(folder: Path) -> list[Doc]:
    """The documents that a finished run searches now."""
    from acclimate.stages.runs import open_latest

    return list(open_latest(folder)[0].input.documents.values())


def write_labels(folder: Path, qrels=tuple(QRELS)) -> tuple[str, str]:
    queries, judged = folder / "queries.jsonl", folder / "qrels.tsv"
    queries.write_text("".join(json.dumps({"_id": q.query_id, "text": q.text}) + "\n" for q in QUERIES))
    judged.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{q.query_id}\t{q.doc_id}\t1\n" for q in qrels))
    return str(queries), str(judged)


def write_answers(folder: Path) -> Path:
    """Store an LLM's answers to two prompts in the folder, as in a run."""
    with Completions(folder / "completions.sqlite", "generate") as completions:
        completions.complete(FakeLLM(), ["Document: one two", "Document: three four five"])
    return folder


def report_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text())


def made_again(run: Path) -> list[str]:
    """Stages that the last command ran, by the report."""
    return [stage["name"] for stage in report_of(run)["stages"] if not stage["resumed"]]


def contents(run: Path) -> dict[str, bytes]:
    """The content of every file of a run, without seconds, latencies and values derived from them."""
    files: dict[str, bytes] = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if (
            path.is_dir()
            or name.startswith(("completions.sqlite", "candidates.sqlite", "scores.sqlite"))
            or name in (".lock", "report.html", "status.json", "run.log")
        ):
            continue
        content = path.read_bytes()
        if path.suffix == ".json":
            content = re.sub(rb'"(seconds|p50|p95|share_of_latency)": [\d.e-]+', rb'"\1": 0', content)
            content = re.sub(rb'("latency_ms": \{[^}]*"queries": )\d+', rb"\1 0", content)
            content = re.sub(rb'"(from|to)": \d+\.\d+', rb'"\1": 0', content)  # latencies of steps
            content = re.sub(rb'"resumed": (true|false)', b'"resumed": 0', content)
        if name == "evaluate/manifest.json":
            content = re.sub(rb'("measured.json": \{[^}]*"sha256": )"\w+"', rb"\1 0", content)
            content = re.sub(rb'("measured.json": \{\s*"bytes": )\d+', rb"\1 0", content)
        if name == "run.json" or name == "report.json":
            content = content.replace(str(run.parent).encode(), b"")
        files[name] = content
    return files
