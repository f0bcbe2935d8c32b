"""The whole way through, in order: read this first.

    documents -> index -> sample -> generate -> filter -> mine -> train -> label -> distill -> evaluate -> report

Between sample and generate comes `seed`, where prompts are made from the corpus first.

Each stage (in `making`) reads files of earlier ones, calls the function that does the work (in `stages`), and writes
files of its own; the workspace passes over what is made already. Nothing later is needed by anything earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from acclimate.base import distributed
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import write_json
from acclimate.run import manifests
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.workspace import Made
from acclimate.stages import emptied, sizes
from acclimate.stages.checks import check
from acclimate.stages.distill import distill
from acclimate.stages.evaluate import evaluate
from acclimate.stages.filter import filter_queries
from acclimate.stages.generate import generate
from acclimate.stages.index import index
from acclimate.stages.label import label
from acclimate.stages.making import examples, retrievers
from acclimate.stages.mine import mine
from acclimate.stages.sample import sample
from acclimate.stages.seed import seed_prompts
from acclimate.stages.train import train

# Stage -> the function whose keyword-only arguments are its settings.
STAGES: dict[str, Callable[..., Any]] = {
    "index": index,
    "sample": sample,
    "seed": seed_prompts,
    "generate": generate,
    "filter": filter_queries,
    "mine": mine,
    "train": train,
    "label": label,
    "distill": distill,
    "evaluate": evaluate,
}


def adapt(run: Run, *, until: str = "evaluate") -> dict[str, Made]:
    """Run every stage up to `until`.

    Raises BudgetExceeded when LLMs have used up `run.budget`; what they answered is kept. Raises DataError at the first
    stage that keeps nothing.
    """
    if until == "seed" and not run.seeds_prompts:
        raise SettingError("no prompt of this run is made from the corpus; add: --set generate.prompt=adapted")
    check(run)
    distributed.main_first(lambda: run.corpus)  # a collection that cannot be read leaves the run's description as it is
    if source := run.settings["sample"]["examples"]:
        run.input.pairs(source)  # if there are none, that is said before everything is indexed
    if until != "index":
        sizes.check(run, holds_out=until not in _WITHOUT_HELD_OUT)
    if distributed.is_main():
        run.input.keep()
        write_json(run.workspace.folder / "run.json", run.summary)
    made: dict[str, Made] = {}
    for stage in _stages_of(run):
        made[stage] = _ORDER[stage](run, made)
        emptied.check(run.workspace.folder, made, stage)
        if stage == until:
            break
    return made


def make(run: Run, stage: str, made: Mapping[str, Made]) -> Made:
    """One stage of `run` from the stages before it, which may be those of another run with the same index."""
    return _ORDER[stage](run, made)


def made_already(run: Run, until: str) -> dict[str, Made]:
    """The stages of a run up to `until`, as they are in its folder.

    Raises DataError when one is missing, damaged, or made from others than those that are there.
    """
    folder, found = run.workspace.folder, dict[str, Made]()
    again = f"go on with: acclimate {until} {folder}"
    for stage in _stages_of(run):
        manifest = run.workspace.manifest(stage)
        if manifest is None:
            raise DataError(f"this run is not finished: the stage {stage} is not made yet; {again}", path=folder)
        manifests.check(folder / stage, manifest)
        found[stage] = Made(stage, run.folder(stage), manifest, resumed=True)
        if other := _other_input(found, stage):
            raise DataError(f"{stage} was made from {other} than are here now; {again}", path=folder)
        if stage == until:
            break
    return found


def _stages_of(run: Run) -> list[str]:
    """The stages of this run in their order."""
    return [stage for stage in _ORDER if stage != "seed" or run.seeds_prompts]


def _other_input(made: Mapping[str, Made], stage: str) -> str:
    """What a stage was made from that is not there any more, in words."""
    inputs, indexed = made[stage].manifest["inputs"], made["index"].manifest["inputs"][DOCUMENTS]
    if inputs.get(DOCUMENTS, indexed) != indexed:
        return "other documents or passages"
    others = [name for name, found in inputs.items() if name in made and made[name].fingerprint != found]
    return f"other files of the stage {others[0]}" if others else ""


_WITHOUT_HELD_OUT = ("sample", "seed", "generate", "filter")  # stages up to which no side of a split may be missed
_ORDER: dict[str, Callable[[Run, Mapping[str, Made]], Made]] = {
    "index": examples.make_index,
    "sample": examples.make_sample,
    "seed": examples.make_seed,
    "generate": examples.make_generate,
    "filter": examples.make_filter,
    "mine": examples.make_mine,
    "train": retrievers.make_train,
    "label": retrievers.make_label,
    "distill": retrievers.make_distill,
    "evaluate": retrievers.make_evaluate,
}
