"""Which stages a run passes over, because nothing reads what they would make, and whose work it was given: the one
place that says so.
"""

from __future__ import annotations

from acclimate.learn.students.distillation import CONTRASTIVE
from acclimate.learn.teachers.selection import is_reranker
from acclimate.run.run import Run
from acclimate.stages.systems import needs_reranker

SKIPPED = ("seed", "mine", "train", "label", "distill")  # stages that may be


def skipped(run: Run) -> dict[str, str]:
    """Stage -> why it is passed over."""
    distill, teachers = run.settings["distill"], run.settings["label"]["teachers"]
    has_student, is_contrastive = bool(distill["student"]), distill["loss"] == CONTRASTIVE
    reasons: dict[str, str] = {}
    given = taken(run)
    if not run.seeds_prompts:
        reasons["seed"] = "generate.prompt does not name adapted"
    if not has_student:
        reasons["distill"] = "distill.student names no student"
    if not has_student or is_contrastive:
        reasons["label"] = "no student learns from a teacher (distill.student, distill.loss)"
    if not needs_reranker(run) and ("label" in {*reasons, *given} or not any(map(is_reranker, teachers))):
        reasons["train"] = "no system and no teacher has a reranker (evaluate.rerank, evaluate.systems, label.teachers)"
    if "train" in {*reasons, *given} and not (has_student and is_contrastive):
        reasons["mine"] = "neither a reranker nor a student learns from mined examples"
    return reasons


def taken(run: Run) -> set[str]:
    """The stages whose work was given: `stages.given` makes them."""
    stages = {"sample", "generate"} if run.given.brings_queries else set[str]()
    if run.given.from_nway is not None:
        stages.add("label" if run.input.has_rated_examples else "mine")
    return stages if run.given.reranker is None else {*stages, "train"}
