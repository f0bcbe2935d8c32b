"""Check what is installed, which devices there are, and what is missing, with the command that installs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from acclimate.base import cgroups, locks
from acclimate.base.errors import AcclimateError
from acclimate.base.requirements import outdated
from acclimate.base.text import counted, single_spaced
from acclimate.base.version import __version__
from acclimate.llm import BACKENDS


class Check(NamedTuple):
    """Whether something that a run may need is available.

    >>> print(acclimate.Check(False, "torch", "pip install torch"))
    missing  torch   ->  pip install torch
    """

    well: bool
    what: str
    command: str = ""  # what to type if it is missing

    def __str__(self) -> str:
        mark = "ok     " if self.well else "missing"
        return f"{mark}  {self.what}" + (f"   ->  {self.command}" if self.command and not self.well else "")


_SAID = 200  # characters shown of an error
_NEEDED = ("torch", "transformers", "sentence-transformers", "bm25s", "PyStemmer", "ir-measures", "pyarrow", "gguf")
_OPTIONAL = {  # module -> what it is for, and the extra of acclimate that installs it
    "ray": ("cluster workers", "ray"),
    "ir_datasets": ("collections by name", "datasets"),
    "pypdfium2": ("PDF files in folders of documents", "pdf"),
    "docx": ("Word files in folders of documents", "docx"),
    "pptx": ("PowerPoint files in folders of documents", "pptx"),
    "sentencepiece": ("published T5s and DeBERTas without tokenizer.json", "sentencepiece"),
    "peft": ("rerankers trained as adapters", "lora"),
    "faiss": ("approximate search of many documents", "ann"),
    "fastapi": ("acclimate serve", "serve"),
    "psycopg": ("exports to PostgreSQL", "pgvector"),
    "lancedb": ("exports to LanceDB", "lancedb"),
    "qdrant_client": ("exports to Qdrant", "qdrant"),
    "onnxruntime": ("models as ONNX", "onnx"),
    "pyterrier": ("PyTerrier", "terrier"),
}


def doctor() -> list[Check]:
    """Check everything that a run may need, in the order in which it is needed.

    >>> acclimate.doctor()[1].what == f"acclimate {acclimate.__version__}"
    True
    """
    return list(_checks())


def _checks() -> Iterator[Check]:
    yield Check(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer)", "install Python 3.11")
    yield Check(True, f"acclimate {__version__}")
    yield Check(True, _memory())
    yield Check(locks.are_available(), f"file locks on {sys.platform}", "wsl --install, and use acclimate within it")
    for name in _NEEDED:
        try:
            yield Check(True, f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            yield Check(False, name, "pip install -c constraints.txt acclimate")
    for old in outdated():
        use = f", for acclimate[{old.extra}] (optional)" if old.extra else ""
        yield Check(False, f"{old}{use}", f"pip install '{old.name}>={old.lowest}'")
    if importlib.util.find_spec("torch"):
        yield from _devices()
        yield from _embedded()
    yield from _backends()
    for module, (use, extra) in _OPTIONAL.items():
        is_there = importlib.util.find_spec(module) is not None
        yield Check(is_there, f"{module}, for {use} (optional)", f"pip install 'acclimate[{extra}]'")
    yield Check(shutil.disk_usage(".").free > 5e9, f"{shutil.disk_usage('.').free / 1e9:.0f} GB free on this disk", "")


def _memory() -> str:
    whole, usable = cgroups.memory(), cgroups.usable_memory()
    limit = f" (this process may use {usable / 2**30:.1f})" if usable < whole else ""
    return f"memory: {whole / 2**30:.1f} GiB{limit}"


def _devices() -> Iterator[Check]:
    import torch

    from acclimate.base import models

    n_cores, usable, threads = os.cpu_count() or 1, cgroups.usable_cores(), torch.get_num_threads()
    limit = f" (this process may use {usable:,})" if usable < n_cores else ""
    precision = f", computing in {models.dtype_name()}"  # of the device that models run on
    about = f"CPU: {counted(n_cores, 'core')}{limit}, {counted(threads, 'thread')}"
    yield Check(True, about + (precision if models.device() == "cpu" else ""))
    if threads > usable:
        what = f"a limit of threads: {threads:,} on {counted(usable, 'core')} wait for each other"
        yield Check(False, what, f"export {cgroups.THREADS}={usable}")
    if torch.cuda.is_available():
        yield from (_gpu(number, precision) for number in range(torch.cuda.device_count()))
    elif models.device() == "mps":
        yield Check(True, f"Apple GPU (MPS){precision}")
    else:
        yield Check(True, "no GPU; everything runs on the CPU")


def _gpu(number: int, precision: str) -> Check:
    """Whether this GPU can compute; this build of torch may lack code for it. precision: said of one that can."""
    import torch

    card = torch.cuda.get_device_properties(number)
    about = f"GPU {number}: {card.name}, {card.total_memory / 2**30:.0f} GiB"
    try:
        well = torch.ones(2, device=f"cuda:{number}").sum().item() == 2
        about += precision
    except RuntimeError as error:
        about, well = f"{about}: {single_spaced(str(error))[:_SAID]}", False
    return Check(well, about, "install a PyTorch build that supports it: https://pytorch.org/get-started/locally")


def _backends() -> Iterator[Check]:
    """The possible prefixes of generate.llm."""
    for prefix, backend in BACKENDS.items():
        is_there = importlib.util.find_spec(backend.package) is not None
        optional = " (optional)" if backend.extra else ""
        yield Check(is_there, f"LLM {prefix}{backend.names}: {backend.about}{optional}", backend.command)


def _embedded() -> Iterator[Check]:
    from acclimate.base import models

    for name, model in models.EMBEDDED.items():
        try:
            models.resolve(f"embedded:{name}")
            yield Check(True, f"embedded:{name} (weights verified)")
        except AcclimateError as error:
            yield Check(False, str(error), model.command)
