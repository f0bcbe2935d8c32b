"""The whole way through, in order: read this first.

    documents -> index -> sample -> generate -> filter -> steer -> mine -> train -> label -> distill -> evaluate
    -> report

Between sample and generate comes `seed`, where prompts are made from the corpus first. A stage is a file here: its
settings in the signature of its function, its check before work begins, and its `make`, whose signature says which
earlier stages it reads. The workspace passes over what is made already, and the chain over what nothing would read.
Nothing later is needed by anything earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Any, NotRequired, TypedDict, cast

from acclimate import llm as llms
from acclimate.base import distributed, models
from acclimate.base.errors import DataError, SettingError
from acclimate.base.loading import check_model
from acclimate.llm.server.address import check_no_secrets
from acclimate.run import description, manifests
from acclimate.run.estimate import ENCODER_FLOP, Estimate
from acclimate.run.output import StageOutput
from acclimate.run.run import DOCUMENTS, Run
from acclimate.search import scorers
from acclimate.search.scorers import named
from acclimate.stages import distill, evaluate, filter, generate, given, index, label, mine, sample, seed, steer, train
from acclimate.stages.sizes import check_sides, check_size
from acclimate.stages.skipped import SKIPPED, skipped, taken
from acclimate.stages.systems import check_first_stage, named_rerankers
from acclimate.stages.unseen import check_unseen, labels_unseen


def chain(run: Run) -> Iterator[StageOutput]:
    """Make every stage that something reads, one at a time: whoever stops iterating stops the run there. What somebody
    gave takes the place of what would be made."""
    skips = skipped(run)
    seeded = mined = trained = labeled = distilled = None
    yield (indexed := index.make(run))
    yield (sampled := given.sampled(run) or sample.make(run, indexed))
    if "seed" not in skips:
        yield (seeded := seed.make(run, sampled))
    yield (generated := given.generated(run, sampled) or generate.make(run, sampled, seeded))
    yield (filtered := filter.make(run, indexed, sampled, generated))
    yield (steered := steer.make(run, indexed, sampled, filtered))
    check_sides(run, sampled, filtered)
    if labels_unseen(run) and not {"train", "label"} & {*skips, *taken(run)}:
        check_unseen(run, sampled, filtered)
    if "mine" not in skips:
        yield (mined := given.mined(run, filtered) or mine.make(run, indexed, generated, filtered))
    if "train" not in skips:
        yield (trained := given.trained(run) or train.make(run, sampled, filtered, mined))
    if "label" not in skips:
        labeled = given.labeled(run, sampled, filtered) or label.make(run, indexed, sampled, filtered, steered, trained)
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
    """Stage -> what it left, in the order of the chain, as far as it was asked for and something reads it."""

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


_KINDS: tuple[type[StageOutput], ...] = (
    index.Indexed,
    sample.Sampled,
    seed.Seeded,
    generate.Generated,
    filter.Filtered,
    steer.Steered,
    mine.Mined,
    train.Trained,
    label.Labeled,
    distill.Distilled,
    evaluate.Evaluated,
)
_KEPT = 0.75  # queries that pass the filters, about
# stages up to which no side of a split may be missed
_WITHOUT_HELD_OUT = ("sample", "seed", "generate", "filter", "steer")


def adapt(run: Run, *, until: str = "evaluate") -> Outputs:
    """Run every stage up to `until`.

    Raises BudgetExceeded when LLMs have used up `run.budget`; what they answered is kept. Raises DataError at the first
    stage that keeps nothing.
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
        if stage in skips and stage != "seed":  # which few runs have
            distributed.say(stage, f"skipped: {skips[stage]}")
    outputs: dict[str, StageOutput] = {}
    for output in chain(run):
        outputs[output.name] = output
        output.check_kept()
        if output.name == until:
            break
    return cast(Outputs, outputs)


def finished(run: Run, until: str) -> Outputs:
    """The stages of a run up to `until`, as they are in its folder.

    Raises DataError when one is missing, damaged, or made from others than those that are there.
    """
    folder, outputs = run.workspace.folder, dict[str, StageOutput]()
    last = next(run.output(kind) for kind in _KINDS if kind.stage == until)
    again, reads = f"go on with: acclimate {until} {folder}", _read_by(run, last)
    for kind in _KINDS:
        if kind.stage in SKIPPED and kind.stage not in reads:
            continue
        if kind is steer.Steered and until == "evaluate" and last and kind.stage not in last.manifest["inputs"]:
            continue  # of an earlier version, which had no such stage: it is read and searched as it was made
        output = run.output(kind)
        if output is None:
            raise DataError(f"this run is not finished: the stage {kind.stage} is not made yet; {again}", path=folder)
        manifests.check(folder / kind.stage, output.manifest)
        outputs[kind.stage] = output
        if changed := _changed_input(outputs, output):
            raise DataError(f"{kind.stage} was made from {changed} than those here now; {again}", path=folder)
        if kind.stage == until:
            break
    return cast(Outputs, outputs)


def _read_by(run: Run, last: StageOutput | None) -> set[str]:
    """The stages that one and those before it were made from, whatever is asked for today; what is asked for, where it
    is not made."""
    if last is None:
        return STAGES.keys() - skipped(run).keys()
    reads = {last.stage, *(["seed"] if run.seeds_prompts else [])}
    for kind in reversed(_KINDS):
        if kind.stage in reads and (output := run.output(kind)):
            reads |= output.manifest["inputs"].keys()
    return reads


def _changed_input(outputs: Mapping[str, StageOutput], output: StageOutput) -> str:
    """What a stage was made from that is not there any more, in words."""
    inputs, indexed = output.manifest["inputs"], outputs["index"].manifest["inputs"][DOCUMENTS]
    if inputs.get(DOCUMENTS, indexed) != indexed:
        return "other documents or passages"
    for name, fingerprint in inputs.items():
        if name in outputs and outputs[name].fingerprint != fingerprint:
            return f"other files of the stage {name}"
    return ""


def check(run: Run, *, asks: bool = True) -> None:
    """Raises SettingError and its like for what a later stage, maybe hours later, would not find or not take, as far as
    settings and names say it. Then documents are looked at (`check_input`), and last, models (`check_models`).

    asks: models will be asked, so that their packages, keys and hub must be there.
    """
    check_no_secrets(run.settings)
    given.check(run, asks=asks)  # a file that cannot be read is said before the documents are
    index.check(run)
    done = {*skipped(run), *taken(run)}
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
    for _, name in [*_begun_from(run), *_raters(run)]:
        models.resolve(named.split(name)[1])


def check_input(run: Run, *, until: str = "evaluate") -> None:
    """Raises DataError and its like for documents that cannot be read or are too few, and for what was given beside
    them and is of others. The run's description is left as it is."""
    index.check_input(run)
    run.input.start  # noqa: B018 (the queries that were given)
    if source := run.settings["sample"]["examples"]:
        run.input.pairs(source)  # if there are none, that is said before everything is indexed
    if "mine" not in {*skipped(run), *taken(run)}:
        mine.check_hits(run)
    check_first_stage(run)
    if until != "index":
        check_size(run, holds_out=until not in _WITHOUT_HELD_OUT)


def check_models(run: Run, *, asks: bool = True) -> None:
    """Raises an error for a model that a stage which is not made yet could not load. Those of a hub are fetched now:
    that there is none, or that its weights are pickles, would else be said hours later. asks: see `check`."""
    done, raters = {*skipped(run), *taken(run)}, _raters(run)
    for stage, name in [*(begun_from := _begun_from(run)), *raters]:
        model = named.split(name)[1]
        is_local = models.resolve(model).is_local
        if stage in done or run.workspace.is_made(stage) or not (is_local or asks):
            continue
        if not is_local:
            models.weights_fingerprint(model)
        if (stage, name) in raters:
            named.check_rates(name)
        kind = scorers.kind_of(model)
        check_model(model, "encoder" if kind == "cross-encoder" and (stage, name) in begun_from else kind)
    for stage, name in run.llms.items():
        if asks and not llms.is_served(name) and not run.workspace.is_made(stage):
            llms.fingerprint_of(name)


def estimates(run: Run, drawn: sample.Sample) -> dict[str, Estimate]:
    """What each stage that is not skipped will take, in the order of the chain. drawn: see `sample.foreseen`."""
    skips, takes = skipped(run), taken(run)
    indexing, generating = index.estimate(run), Estimate() if "generate" in takes else generate.estimate(run, drawn)
    n_written = generating.calls.calls if generating.calls else len(run.input.start.queries) if run.input.start else 0
    n_queries, doc_tokens = _KEPT * n_written, indexing.flop / ENCODER_FLOP / max(1, len(run.input.corpus))
    n_teaching = len(run.input.log) - steer.n_logged(run)  # of the log, at most
    n_lists = n_queries + min(run.settings["label"]["log_queries"], n_teaching)
    by_stage = {
        "index": indexing,
        "sample": Estimate(),
        "seed": seed.estimate(run),
        "generate": generating,
        "filter": filter.estimate(run, n_written, n_queries),
        "steer": steer.estimate(run, n_queries),
        "mine": mine.estimate(n_queries),
        "train": train.estimate(run, n_queries),
        "label": label.estimate(run, n_queries, n_lists, doc_tokens),
        "distill": distill.estimate(run, n_lists),
        "evaluate": evaluate.estimate(run, n_queries, len(drawn.splits)),
    }
    by_stage |= {stage: Estimate() for stage in takes}
    return {stage: estimate for stage, estimate in by_stage.items() if stage not in skips}


def _check_llms(run: Run, *, asks: bool) -> None:
    run.budget.check_names(run.llms)
    for name in run.llms.values():
        if llms.is_served(name) and (run.batch_file is not None or not asks):
            llms.load(name)  # looks at the name and at no key
        else:
            llms.check(name)
    if run.batch_file is not None and not any(map(llms.is_served, run.llms.values())):
        names = " and ".join(dict.fromkeys(run.llms.values())) or "no LLM is asked, which"
        raise SettingError(f"--batch: {names} takes no batch files; expected openai:MODEL")


def _begun_from(run: Run) -> list[tuple[str, str]]:
    """Stage and name of the encoders that others are trained from, or compute with."""
    settings = run.settings
    names = [("index", settings["distill"]["base"]), ("train", settings["train"]["base"])]
    return [*names, *[("filter", settings["train"]["base"])] * (filter.CONSISTENCY in settings["filter"]["filters"])]


def _raters(run: Run) -> list[tuple[str, str]]:
    """Stage and name of the models that rate pairs as they are."""
    return [
        *(("filter", name) for name in [run.settings["filter"]["reranker"]] if name),
        *(("label", name) for name in label.named_scorers(run)),
        *(("evaluate", name) for name in named_rerankers(run)),
    ]
