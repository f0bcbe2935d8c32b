"""Which stages a run skips, because nothing reads their output, and which the user provided the output of."""

from __future__ import annotations

from acclimate.learn.students.choices import CONTRASTIVE
from acclimate.learn.teachers.selection import is_reranker
from acclimate.run.run import Run
from acclimate.stages.systems import needs_reranker

SKIPPED = ("seed", "mine", "train", "label", "distill")  # stages that can be skipped


def skipped(run: Run) -> dict[str, str]:
    """Skipped stage -> reason."""
    distill, teachers = run.settings["distill"], run.settings["label"]["teachers"]
    has_student, is_contrastive = bool(distill["student"]), distill["loss"] == CONTRASTIVE
    reasons: dict[str, str] = {}
    provided = provided_stages(run)
    if not run.seeds_prompts:
        reasons["seed"] = "generate.prompt does not name adapted"
    if not has_student:
        reasons["distill"] = "distill.student names no student"
    if not has_student or is_contrastive:
        reasons["label"] = "no student learns from a teacher (distill.student, distill.loss)"
    if not needs_reranker(run) and ("label" in {*reasons, *provided} or not any(map(is_reranker, teachers))):
        reasons["train"] = "no system and no teacher has a reranker (evaluate.rerank, evaluate.systems, label.teachers)"
    if "train" in {*reasons, *provided} and not (has_student and is_contrastive):
        reasons["mine"] = "neither a reranker nor a student learns from mined examples"
    return reasons


def provided_stages(run: Run) -> set[str]:
    """The stages whose output the user provided; `stages.provided` makes them."""
    stages = {"sample", "generate"} if run.provided.brings_queries else set[str]()
    if run.provided.from_nway is not None:
        stages.add("label" if run.input.has_rated_examples else "mine")
    return stages if run.provided.reranker is None else {*stages, "train"}
