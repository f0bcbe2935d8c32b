"""What is wrong with a run's settings, said before its first stage and not by its last one, hours later."""

from __future__ import annotations

from acclimate import llm
from acclimate.base import distributed, models
from acclimate.base.errors import SettingError
from acclimate.base.loading import check_model
from acclimate.corpus import passages
from acclimate.learn.teachers.selection import check_teaching
from acclimate.llm import prompts
from acclimate.llm.decoding import Decoding
from acclimate.llm.prompts import ADAPTED, Material
from acclimate.llm.server.address import check_no_secrets
from acclimate.records import PromptExample
from acclimate.run.run import Run
from acclimate.search import scorers
from acclimate.search.scorers import named
from acclimate.search.systems import check_reranked
from acclimate.stages.distill import check_dims, check_fits, check_students
from acclimate.stages.filter import check_filters
from acclimate.stages.seed import check_seeds
from acclimate.stages.train import check_base
from acclimate.stages.tune import trials


def check(run: Run, *, asks: bool = True) -> None:
    """Raises SettingError and its like for what a later stage, maybe hours later, would not find or not take.

    asks: models will be asked, so that their packages, keys and hub must be there.
    """
    check_no_secrets(run.settings)
    passages.check(run.settings["index"]["passage_words"], run.settings["index"]["passage_overlap"])
    if asks or models.resolve(run.settings["train"]["base"]).is_local:
        check_base(**run.settings["train"])
    check_students(run.settings["distill"]["student"])
    if len(trials(run.settings["distill"]["tune"], run.settings["distill"])) > 1 and distributed.size() > 1:
        raise SettingError("distill.tune takes one process; start this run without torchrun or accelerate launch")
    _check_prompts(run)
    run.budget.check_names(run.llms)
    for name in run.llms.values():
        if llm.is_served(name) and (run.batch_file is not None or not asks):
            llm.load(name)  # looks at the name and at no key
        else:
            llm.check(name)
    if run.batch_file is not None and not any(map(llm.is_served, run.llms.values())):
        raise SettingError(f"--batch: {run.llms['generate']} takes no batch files; expected openai:MODEL")
    base = run.settings["distill"]["base"]
    if asks or models.resolve(base).is_local:
        is_late_interaction = models.is_late_interaction(models.folder(base))
        check_fits(run.settings["distill"]["student"], base, is_late_interaction=is_late_interaction)
        if is_late_interaction and run.settings["filter"]["retriever"] == "trained":
            raise SettingError(
                f"filter.retriever is trained, a dense retriever, and {base} is a late-interaction model; expected "
                "hybrid, bm25, dense or late-interaction"
            )
        _check_dims(run)
    check_filters(**run.settings["filter"])
    check_teaching(**run.settings["label"])
    for name in run.other_scorers:
        named.check(name)
    check_reranked(run.settings["evaluate"]["rerank"], run.student_kinds)
    settings = run.settings
    rating = [("filter", settings["filter"]["reranker"])] if settings["filter"]["reranker"] else []
    rating += [("label", named.model_of(name)[1]) for name in run.other_scorers]
    begun_from = [("index", settings["distill"]["base"]), ("train", settings["train"]["base"])]
    for stage, name in [*begun_from, *rating]:  # last: this imports the libraries of models
        if not run.workspace.is_made(stage) and models.resolve(name).is_local:
            kind = scorers.kind_of(name)
            check_model(name, "encoder" if kind == "cross-encoder" and (stage, name) in begun_from else kind)


def _check_dims(run: Run) -> None:
    """Raises SettingError for students whose vectors would be longer than the base's."""
    settings = run.settings["distill"]
    tried = [{**settings, **trial} for trial in trials(settings["tune"], settings)]
    if not run.workspace.is_made("distill") and any(one["dim"] or one["matryoshka"] for one in tried):
        for one in tried:
            check_dims(one["dim"], one["matryoshka"], run.encoder.dim)


def _check_prompts(run: Run) -> None:
    """Raises SettingError for prompts that are not there, or that need examples when none are named."""
    example = PromptExample("", "", "", "")
    material = Material([example] if run.settings["sample"]["examples"] else ())
    wanted = run.settings["generate"]["prompt"]
    others = [entry for entry in wanted if prompts.plain_names([entry]) != [ADAPTED]]
    if others or not wanted:
        prompts.load_mix(others, material)
    if run.seeds_prompts:
        prompts.load_mix(run.settings["seed"]["prompt"])
        check_seeds(**run.settings["seed"])
    if material.examples and not any(prompts.template(name).examples is None for name in prompts.plain_names(others)):
        raise SettingError(
            "sample.examples names examples of the task, and no prompt in generate.prompt shows any; promptagator does"
        )
    if "filter" in run.llms:
        prompts.judge(run.settings["filter"]["judge"])
    reranker = run.settings["filter"]["reranker"]
    if reranker and models.resolve(reranker).is_local:
        scorers.check_rates(reranker)
    for stage in ("seed", "generate"):
        settings = run.settings[stage]
        Decoding(settings["max_new_tokens"], temperature=settings["temperature"], top_p=settings["top_p"])
