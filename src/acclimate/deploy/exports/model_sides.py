"""The encoders of a run as plain stacks of modules: for each member, one for queries and one for documents.

Students are saved as routers with two routes; here each route becomes a model of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sentence_transformers.base.modules import Normalize, Router

from acclimate.base.errors import DataError
from acclimate.run.run import Run
from acclimate.search.encoded import Task
from acclimate.search.encoder import load_model, own_prompts
from acclimate.search.names import SystemName
from acclimate.stages.distill import Distilled

TASKS: tuple[Task, ...] = ("query", "document")


@dataclass(frozen=True)
class Side:
    """The encoder of queries, or of documents."""

    task: Task
    kind: str  # dense, late-interaction, sparse or static: of the member
    modules: list[Any]  # of sentence-transformers
    prompt: str  # before each text
    max_tokens: int  # of a text, special ones included


def sides_of(run: Run, distilled: Distilled | None, member: str) -> dict[Task, Side]:
    """The sides of a member that has an encoder: any but bm25.

    Raises DataError for dense retrieval by a late-interaction model, which no other library knows.
    """
    name = SystemName(member)
    if not name.is_adapted and name.retriever in ("dense", "late-interaction"):
        return _of_base(run, name)
    assert distilled is not None
    folder = distilled.folder / (name.retriever if name.is_adapted else f"{name.retriever}-start")
    sides = _of_folder(folder, name.retriever, run.base.encoder.max_tokens)
    if name.retriever == "sparse" and distilled.notes["sparse"]["keeps_index"]:
        start = _of_folder(distilled.folder / "sparse-start", "sparse", run.base.encoder.max_tokens)
        sides["document"] = start["document"]
    return sides


def _of_base(run: Run, name: SystemName) -> dict[Task, Side]:
    encoder = run.base.encoder
    modules = list(encoder.model)
    if name.retriever == "dense":
        if encoder.is_late_interaction:
            raise DataError(
                f"{encoder.name} is a late-interaction model, and {name} the mean of its token vectors, which only "
                "acclimate makes; export a system without it"
            )
        modules = with_unit_length(modules)
    elif not encoder.is_late_interaction:
        from acclimate.learn.students.kinds import token_modules

        modules = token_modules(encoder.model)
    return {
        task: Side(task, name.retriever, modules, encoder.prompts.get(task, ""), encoder.max_tokens) for task in TASKS
    }


def _of_folder(folder: Path, kind: str, max_tokens: int) -> dict[Task, Side]:
    """The sides of a student that `distill` saved."""
    model: Any = load_model(folder) if kind != "sparse" else _sparse(folder)
    prompts = own_prompts(model.prompts)
    first: Any = model[0]
    stacks: Any = first.sub_modules if isinstance(first, Router) else {task: list(model) for task in TASKS}
    sides: dict[Task, Side] = {
        task: Side(task, kind, list(stacks[task]), prompts.get(task, ""), max_tokens) for task in TASKS
    }
    if kind in ("dense", "static"):
        sides = {task: replace(side, modules=with_unit_length(side.modules)) for task, side in sides.items()}
    return sides


def with_unit_length(modules: list[Any]) -> list[Any]:
    """The modules, with a normalization at the end: vectors in the index have unit length."""
    return modules if isinstance(modules[-1], Normalize) else [*modules, Normalize()]


def _sparse(folder: Path) -> Any:
    from sentence_transformers import SparseEncoder

    return SparseEncoder(str(folder), device="cpu", model_kwargs={"use_safetensors": True})
