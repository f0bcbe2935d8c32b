"""A working folder for examples: documents, a finished run of them, and a tiny recipe `quick`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import acclimate
import acclimate.llm
from acclimate.base.testing import DOCS, FakeLLM
from acclimate.run.settings import Layer, Recipe

TINY = {
    "sample": {"n_docs": 500, "dev_share": 0.3, "min_chars": 40},  # values that the examples show
    "index": {"max_tokens": 48},
    "generate": {"max_doc_tokens": 30},
    "mine": {"n_ways": 3},
    "train": {"batch_size": 4, "max_tokens": 48},
    "label": {"n_ways": 8},
    "distill": {"epochs": 1},
    "evaluate": {"rerank_depth": 5},
}


@contextmanager
def at_home(folder: Path, encoder: Path) -> Iterator[Path]:
    """Make `folder` the current folder, with `docs/` and `run`, and a fake LLM."""
    (folder / "docs").mkdir()
    for doc in DOCS:
        name = doc.title.lower().replace(" ", "-")
        (folder / "docs" / f"{name}.md").write_text(f"# {doc.title}\n\n{doc.text}\n", encoding="utf-8")
    tiny = {stage: dict(settings) for stage, settings in TINY.items()}
    for stage, setting in (("generate", "llm"), ("train", "base"), ("distill", "base")):
        tiny[stage][setting] = str(encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acclimate.llm, "load", lambda name, **_: FakeLLM())
        for module in ("adapt", "stages"):
            patch.setattr(
                f"acclimate.api.{module}.load_recipe", lambda name: Recipe(name, "", "", (Layer(name, tiny),))
            )
        patch.chdir(folder)
        acclimate.adapt("docs/", out="run", progress=None)
        yield folder
