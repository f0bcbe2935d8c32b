"""Runs by their folders: one that begins, and one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acclimate import collections
from acclimate.errors import DataError, SettingError
from acclimate.files import read_json
from acclimate.llm.prices import Budget, limits
from acclimate.run import Run
from acclimate.settings import resolve
from acclimate.workspace import Workspace


def begin(
    out: Path,
    corpus: str,
    settings: dict[str, dict[str, Any]],
    *,
    recipe: str,
    seed: int,
    queries: str | None = None,
    qrels: str | None = None,
) -> Run:
    """A run that is to be in `out`. Raises SettingError where that is inside the corpus."""
    if (
        corpus != collections.BUILT_IN
        and Path(corpus).is_dir()
        and out.resolve().is_relative_to(Path(corpus).resolve())
    ):
        raise SettingError(f"{out} is inside {corpus}, so the run would become part of the corpus; choose it elsewhere")
    return Run(Workspace(out), settings, seed, corpus, queries, qrels, recipe)


def stored(folder: Path, changes: Sequence[str] = ()) -> Run:
    """The run that a folder holds, with some settings changed. Raises DataError for a folder without one."""
    from acclimate.pipeline import STAGES

    path = folder / "run.json"
    if not path.exists():
        raise DataError(f"no run here; make one with: acclimate adapt CORPUS --out {folder}", path=folder)
    told = read_json(path)
    settings = resolve(STAGES, told["settings"], changes, path)
    run = begin(
        folder,
        told["corpus"],
        settings,
        recipe=told["recipe"],
        seed=told["seed"],
        queries=told["queries"],
        qrels=told["qrels"],
    )
    prices = told.get("prices")
    run.budget = Budget(limits(told.get("max_tokens", []), told.get("max_cost", [])), prices and Path(prices))
    return run
