"""The whole pipeline, in order: read this first.

    documents -> index -> sample -> (seed) -> generate -> filter -> steer -> mine -> train -> label -> distill
    -> evaluate -> report

`seed` runs only where prompts are made from the corpus. A stage is one file: settings in the signature of its function,
a check before work begins, and `make`, whose parameters are the earlier stages that it reads. `make` reuses a stage
that is up to date; the chain skips a stage whose output nothing reads. No stage depends on a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any, NotRequired, TypedDict, cast

from acclimate import llm as llms
from acclimate.base import distributed, models
from acclimate.base.errors import SettingError
from acclimate.base.loading import check_model
from acclimate.llm.server.address import check_no_secrets
from acclimate.run import description
from acclimate.run.estimate import Estimate, token_flop
from acclimate.run.output import StageOutput
from acclimate.run.run import Run
from acclimate.search import scorers
from acclimate.search.scorers import named
from acclimate.stages import (
    distill,
    evaluate,
    filter,
    generate,
    index,
    label,
    mine,
    provided,
    sample,
    seed,
    steer,
    train,
)
from acclimate.stages.sizes import check_sides, check_size
from acclimate.stages.skipped import provided_stages, skipped
from acclimate.stages.systems import check_first_stage, named_rerankers
from acclimate.stages.unseen import check_unseen, labels_unseen


def chain(run: Run) -> Iterator[StageOutput]:
    """Make the stages of a run in order, yielding each output; to stop the run after a stage, stop iterating.

    A stage whose output nothing reads is skipped. One whose output the user provided is filled from that.
    """
    skips = skipped(run)
    seeded = mined = trained = labeled = distilled = None
    yield (indexed := index.make(run))
    yield (sampled := provided.sampled(run) or sample.make(run, indexed))
    if "seed" not in skips:
        yield (seeded := seed.make(run, sampled))
    yield (generated := provided.generated(run, sampled) or generate.make(run, sampled, seeded))
    yield (filtered := filter.make(run, indexed, sampled, generated))
    yield (steered := steer.make(run, indexed, sampled, filtered))
    check_sides(run, sampled, filtered)
    if labels_unseen(run) and not {"train", "label"} & {*skips, *provided_stages(run)}:
        check_unseen(run, sampled, filtered)
    if "mine" not in skips:
        yield (mined := provided.mined(run, filtered) or mine.make(run, indexed, generated, filtered))
    if "train" not in skips:
        yield (trained := provided.trained(run) or train.make(run, sampled, filtered, mined))
    if "label" not in skips:
        labeled = provided.labeled(run, sampled, filtered) or label.make(
            run, indexed, sampled, filtered, steered, trained
        )
        yield labeled
    if "distill" not in skips:
        yield (distilled := distill.make(run, indexed, sampled, filtered, steered, labeled, mined))
    yield evaluate.make(run, indexed, sampled, steered, trained, labeled, distilled)


# Stage -> the function whose keyword-only arguments are its settings.
STAGES: dict[str, Callable[..., Any]] = {
    "index": index.index,
    "sample": sample.sample,
    "seed": seed.seed_prompts,
    "generate": generate.generate,
    "filter": filter.filter_queries,
    "steer": steer.steer,
    "mine": mine.mine,
    "train": train.train,
    "label": label.label,
    "distill": distill.distill,
    "evaluate": evaluate.evaluate,
}


class Outputs(TypedDict):
    """The output of each stage, in the order of the chain; stages that were skipped or not reached are absent."""

    index: index.Indexed
    sample: sample.Sampled
    seed: NotRequired[seed.Seeded]
    generate: generate.Generated
    filter: filter.Filtered
    steer: steer.Steered
    mine: NotRequired[mine.Mined]
    train: NotRequired[train.Trained]
    label: NotRequired[label.Labeled]
    distill: NotRequired[distill.Distilled]
    evaluate: evaluate.Evaluated


_KEPT = 0.75  # rough share of queries that pass the filters
# stages after which a run may stop without a dev or test split
_WITHOUT_HELD_OUT = ("sample", "seed", "generate", "filter", "steer")


def adapt(run: Run, *, until: str = "evaluate") -> Outputs:
    """Run every stage up to and including `until`.

    Raises BudgetExceeded when LLM calls exceed `run.budget` (answers so far are kept), and DataError at the first stage
    that keeps nothing.
    """
    skips = skipped(run)
    if until in skips:
        raise SettingError(f"{until} is skipped: {skips[until]}")
    check(run)
    check_input(run, until=until)
    check_models(run)
    if distributed.is_main():
        run.input.keep()
        description.write(run)
    for stage in takewhile(lambda stage: stage != until, STAGES):
        if stage in skips and stage != "seed":  # skipped in most runs, so not worth a line
            distributed.say(stage, f"skipped: {skips[stage]}")
    outputs: dict[str, StageOutput] = {}
    for output in chain(run):
        outputs[output.name] = output
        output.check_kept()
        if output.name == until:
            break
    return cast(Outputs, outputs)


def check(run: Run, *, asks: bool = True) -> None:
    """Check settings and names before work begins, for what would otherwise fail hours later.

    Raises SettingError or another AcclimateError. `check_input` checks the documents, `check_models` the models.

    asks: models will be used, so their packages, API keys and hub must be available.
    """
    check_no_secrets(run.settings)
    provided.check(run, asks=asks)  # unreadable provided files are reported before unreadable documents
    index.check(run)
    done = {*skipped(run), *provided_stages(run)}
    if "generate" not in done:
        seed.check(run)
        generate.check(run)
    filter.check(run, asks=asks)
    if "mine" not in done:
        mine.check(run)
    if "train" not in done or filter.CONSISTENCY in run.settings["filter"]["filters"]:
        train.check(run, asks=asks)
    if "label" not in done:
        label.check(run)
    if "distill" not in done:
        distill.check(run, asks=asks)
    evaluate.check(run)
    _check_llms(run, asks=asks)
    for _, name in [*_base_encoders(run), *_untrained_scorers(run)]:
        models.resolve(named.split(name)[1])


def check_input(run: Run, *, until: str = "evaluate") -> None:
    """Check the documents, and what was provided beside them: readable, enough of them, and belonging together.

    Decides what depends on them, too. Raises DataError or SettingError. Writes nothing.
    """
    index.decide_passages(run)
    index.check_input(run)
    run.input.provided_queries  # noqa: B018 (reads and checks them)
    if source := run.settings["sample"]["examples"]:
        run.input.pairs(source)  # if there are none, fail before indexing
    if "mine" not in {*skipped(run), *provided_stages(run)}:
        mine.check_hits(run)
    check_first_stage(run)
    if until != "index":
        check_size(run, holds_out=until not in _WITHOUT_HELD_OUT)


def check_models(run: Run, *, asks: bool = True) -> None:
    """Check that each model needed by a stage not yet made can be loaded; hub models are downloaded now.

    Otherwise a missing model, or one with pickled weights, would only fail hours later. Warns of an LLM whose server
    accepts no connection. asks: see `check`.
    """
    done, raters = {*skipped(run), *provided_stages(run)}, _untrained_scorers(run)
    for stage, name in [*(base_encoders := _base_encoders(run)), *raters]:
        model = named.split(name)[1]
        is_local = models.resolve(model).is_local
        if stage in done or run.workspace.is_made(stage) or not (is_local or asks):
            continue
        if not is_local:
            models.weights_fingerprint(model)
        if (stage, name) in raters:
            named.check_is_reranker(name)
        kind = scorers.kind_of(model)
        check_model(model, "encoder" if kind == "cross-encoder" and (stage, name) in base_encoders else kind)
    missing = {stage: name for stage, name in run.llms.items() if not run.workspace.is_made(stage)}
    for name in dict.fromkeys(missing.values()):
        if not llms.is_served(name):
            llms.check_files(name, downloads=asks)
            if asks:
                llms.fingerprint_of(name)
        elif asks and not run.store.has_answers and run.batch_file is None and (reason := llms.why_unreachable(name)):
            stages = " and ".join(stage for stage, each in missing.items() if each == name)
            distributed.warn(stages, f"nothing answers for {name}: {reason}; start the server before this stage begins")


def models_used(run: Run) -> list[tuple[str, str]]:
    """(stage, model) for each model that runs on this machine."""
    asked = [(stage, name) for stage, name in run.llms.items() if not llms.is_served(name)]
    return [*_base_encoders(run), *((stage, named.split(name)[1]) for stage, name in _untrained_scorers(run)), *asked]


def estimates(run: Run, drawn: sample.Sample) -> dict[str, Estimate]:
    """Estimated cost of each stage that is not skipped, in the order of the chain.

    drawn: the sample that `sample.preview` expects.
    """
    skips, takes = skipped(run), provided_stages(run)
    indexing, generating = index.estimate(run), Estimate() if "generate" in takes else generate.estimate(run, drawn)
    n_written = (
        generating.calls.calls
        if generating.calls
        else len(run.input.provided_queries.queries)
        if run.input.provided_queries
        else 0
    )
    n_queries = min(_KEPT * n_written, filter.most_kept(run, n_written))
    doc_tokens = indexing.flop / token_flop(run.settings["distill"]["base"]) / max(1, len(run.input.corpus))
    n_teaching = len(run.input.log) - steer.n_log_choosing(run)  # at most this many log queries are used for training
    n_rerankers = 0 if "train" in skips else train.n_rerankers(run)
    n_lists = n_queries + min(run.settings["label"]["log_queries"], n_teaching)
    by_stage = {
        "index": indexing,
        "sample": Estimate(),
        "seed": seed.estimate(run),
        "generate": generating,
        "filter": filter.estimate(run, n_written),
        "steer": steer.estimate(run, n_queries),
        "mine": mine.estimate(run, n_queries),
        "train": train.estimate(run, n_queries),
        "label": label.estimate(run, n_queries, n_lists, doc_tokens, n_rerankers),
        "distill": distill.estimate(run, n_lists, doc_tokens),
        "evaluate": evaluate.estimate(run, n_queries, len(drawn.splits)),
    }
    by_stage |= {stage: Estimate() for stage in takes}
    return {stage: estimate for stage, estimate in by_stage.items() if stage not in skips}


def _check_llms(run: Run, *, asks: bool) -> None:
    run.budget.check_names(run.llms)
    for name in run.llms.values():
        if llms.is_served(name) and (run.batch_file is not None or not asks):
            llms.load(name)  # validates the name, reads no key
        else:
            llms.check(name)
    if run.batch_file is not None and not any(map(llms.is_served, run.llms.values())):
        names = " and ".join(dict.fromkeys(run.llms.values())) or "no LLM is asked, which"
        raise SettingError(f"--batch: {names} takes no batch files; expected openai:MODEL")


def _base_encoders(run: Run) -> list[tuple[str, str]]:
    """(stage, model) for each encoder that training starts from, or that is used as it is."""
    settings = run.settings
    names = [("index", settings["distill"]["base"]), ("train", settings["train"]["base"])]
    return [*names, *[("filter", settings["train"]["base"])] * (filter.CONSISTENCY in settings["filter"]["filters"])]


def _untrained_scorers(run: Run) -> list[tuple[str, str]]:
    """(stage, model) for each reranker or LLM that scores pairs untrained."""
    return [
        *(("filter", name) for name in [run.settings["filter"]["reranker"]] if name),
        *(("label", name) for name in label.named_scorers(run)),
        *(("evaluate", name) for name in named_rerankers(run)),
    ]
