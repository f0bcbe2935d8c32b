"""From documents to n-way examples: index, sample, seed, generate, filter, mine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from acclimate import llm
from acclimate.base import distributed, models
from acclimate.base.errors import DataError
from acclimate.base.files import fingerprint, write_json, write_jsonl
from acclimate.corpus.formats import read_synthetic, write_nway, write_synthetic
from acclimate.llm import prompts
from acclimate.llm.prompts import Material
from acclimate.llm.prompts.files import write_toml
from acclimate.run.run import DOCUMENTS, ENCODER, SOURCES, Run
from acclimate.run.workspace import Account, Made
from acclimate.search import candidates
from acclimate.stages import artifacts
from acclimate.stages.distill import check_encoder
from acclimate.stages.filter import filter_queries
from acclimate.stages.generate import generate, mix_of
from acclimate.stages.index import index
from acclimate.stages.judges import RunJudges
from acclimate.stages.mine import mine
from acclimate.stages.sample import sample
from acclimate.stages.seed import seed_prompts

Progress = Callable[[int, int], None]


def make_index(run: Run, made: Mapping[str, Made]) -> Made:
    student, base = run.settings["distill"]["student"], run.settings["distill"]["base"]

    def work(folder: Path, progress: Progress) -> Account:
        check_encoder(student, base, run.encoder)  # which changes nothing of the index
        warnings = index(run.corpus, run.encoder, folder, progress=progress, **run.settings["index"])
        return Account(
            len(run.documents), len(run.corpus), notes={"warnings": warnings, "kept": run.input.files()._asdict()}
        )

    _say_changed(run)
    inputs = {
        DOCUMENTS: run.corpus.fingerprint,
        "order of the documents": fingerprint(run.corpus.ids),  # a row of the index is a place in it
        "base": run.encoder_fingerprint,
    }
    indexed = run.make("index", work, inputs=inputs, unit="documents")
    for warning in indexed.notes.get("warnings", []):
        distributed.warn("index", warning)
    return indexed


def _say_changed(run: Run) -> None:
    """Say from which documents the index was made, where these are others now."""
    try:
        manifest = run.workspace.manifest("index")
    except DataError:  # it will be made again
        return
    if manifest and manifest["inputs"][DOCUMENTS] != run.corpus.fingerprint:
        was, now = manifest["inputs"][DOCUMENTS][:8], run.corpus.fingerprint[:8]
        found = f"was made from {manifest['out']:,} documents or passages ({was})"
        distributed.say("index", f"{found}; now there are {len(run.corpus):,} ({now})")


def make_sample(run: Run, made: Mapping[str, Made]) -> Made:
    test_share = run.labels.test_share

    def work(folder: Path, progress: Progress) -> Account:
        drawn = sample(
            run.corpus,
            test_share,
            run.input.pairs,
            lambda: run.vectors.pooled,
            run.parents,
            seed=run.seed,
            **run.settings["sample"],
        )
        write_json(folder / "splits.json", drawn.splits)
        if drawn.examples:
            write_jsonl(folder / "examples.jsonl", (one._asdict() for one in drawn.examples))
        return Account(len(run.corpus), len(drawn.splits), drawn.dropped)

    inputs = {DOCUMENTS: run.corpus.fingerprint, "test_share": str(test_share)}
    if source := run.settings["sample"]["examples"]:
        inputs["examples"] = fingerprint(run.input.pairs(source))
    if run.settings["sample"]["method"] == "diverse":
        inputs["index"] = made["index"].fingerprint
    return run.make("sample", work, inputs=inputs, unit="documents")


def make_seed(run: Run, made: Mapping[str, Made]) -> Made:
    settings = run.settings["seed"]
    splits = artifacts.splits(made)
    docs = [run.corpus[doc_id] for doc_id, side in splits.items() if side == "train"]

    def work(folder: Path, progress: Progress) -> Account:
        with run.completions("seed") as completions:
            result = seed_prompts(docs, completions, seed=run.seed, progress=progress, **settings)
        for template in result.templates:
            write_toml(folder / f"{template.name}.toml", template)
        write_jsonl(folder / "seeds.jsonl", result.seeds)
        used = sum("in" in row for row in result.seeds)
        cost = run.budget.cost(settings["llm"], result.tokens)
        return Account(len(result.seeds), used, result.dropped, result.tokens, cost, run.asked("seed"))

    inputs = {
        "drawn documents": fingerprint(docs),
        "llm": llm.fingerprint_of(settings["llm"]),
        "prompt": prompts.load_mix(settings["prompt"]).fingerprint,
    }
    return run.make("seed", work, inputs=inputs, unit="prompts")


def make_generate(run: Run, made: Mapping[str, Made]) -> Made:
    settings = run.settings["generate"]
    splits = artifacts.splits(made)
    material = Material(
        artifacts.examples(made),
        sorted(made["seed"].folder.glob("adapted-*.toml")) if "seed" in made else (),
        run.collection_name,
    )

    def work(folder: Path, progress: Progress) -> Account:
        docs = [run.corpus[doc_id] for doc_id in splits]
        with run.completions("generate") as completions:
            result = generate(docs, completions, material, seed=run.seed, progress=progress, **settings)
        if completions.left_out:
            without = ", ".join(completions.left_out)
            distributed.say("generate", f"{settings['llm']} is asked without {without}, which it does not take")
        write_synthetic(folder / "queries.jsonl", result.queries)
        write_jsonl(folder / "rejects.jsonl", result.rejects)
        by_prompt = Counter(query.prompt for query in result.queries)
        notes = {
            "documents": len(docs),
            "documents_cut": result.cut,
            "prompts": dict(sorted(by_prompt.items())),
            "examples": len(material.examples),
            **run.asked("generate"),
        }
        answers, cost = len(result.queries) + len(result.rejects), run.budget.cost(settings["llm"], result.tokens)
        return Account(answers, len(result.queries), result.dropped, result.tokens, cost, notes)

    shown = {key: settings[key] for key in ("max_doc_tokens", "task", "language", "style")}
    inputs = {
        "drawn documents": fingerprint([run.corpus[doc_id] for doc_id in splits]),
        "llm": llm.fingerprint_of(settings["llm"]),
        "prompt": mix_of(settings["prompt"], material, **shown).fingerprint,
    }
    return run.make("generate", work, inputs=inputs, unit="queries")


def make_filter(run: Run, made: Mapping[str, Made]) -> Made:
    settings, is_asked = run.settings["filter"], "filter" in run.llms

    def work(folder: Path, progress: Progress) -> Account:
        queries = list(read_synthetic(made["generate"].folder / "queries.jsonl"))
        splits = artifacts.splits(made)
        held_out = {doc_id for doc_id, side in splits.items() if side != "train"}
        judges = RunJudges(run, held_out, folder, progress)
        result = filter_queries(queries, judges, **settings)
        write_synthetic(folder / "queries.jsonl", result.queries)
        write_jsonl(folder / "scores.jsonl", result.judged)
        account = Account(len(queries), len(result.queries), result.dropped)
        account.notes["funnel"] = [list(step) for step in result.funnel]
        if is_asked:
            account.notes |= run.asked("filter")
            account.tokens = judges.tokens
            account.cost_usd = run.budget.cost(settings["llm"], judges.tokens)
        return account

    inputs = {name: made[name].fingerprint for name in ("sample", "generate", "index")} | run.read(*ENCODER)
    inputs[DOCUMENTS] = run.corpus.fingerprint
    if is_asked:
        inputs["llm"] = llm.fingerprint_of(settings["llm"])
        inputs["judge"] = prompts.judge(settings["judge"]).fingerprint
    if settings["retriever"] == "trained":
        inputs |= run.read(*(f"distill.{name}" for name in run.settings["distill"]))
    if settings["reranker"]:
        inputs["reranker"] = models.weights_fingerprint(settings["reranker"])
    return run.make("filter", work, inputs=inputs, unit="queries")


def make_mine(run: Run, made: Mapping[str, Made]) -> Made:
    _check_sides(run, made)

    def work(folder: Path, progress: Progress) -> Account:
        from acclimate.search.system import System

        queries = list(read_synthetic(made["filter"].folder / "queries.jsonl"))
        settings, near = run.settings["mine"], run.settings["sample"]["near_duplicates"]
        weights: dict[str, float] = dict.fromkeys(SOURCES, 0.5)
        depth = max(100, settings["depth"])
        sources = [run.ids.row[query.doc_id] for query in queries]
        half = System(run.ids, run.members, SOURCES, weights, depth)
        found = half.candidates([query.as_query() for query in queries], sources)
        hits = candidates.hits(found, run.ids, weights, depth, sources)
        written = list(read_synthetic(made["generate"].folder / "queries.jsonl"))
        result = mine(queries, hits, run.corpus, run.parents, written, near, seed=run.seed, **settings)
        write_nway(folder / "examples.jsonl", result.examples)
        return Account(len(queries), len(result.examples), result.dropped, notes={"filled_at_random": result.filled})

    inputs = {
        **{name: made[name].fingerprint for name in ("generate", "filter", "index")},
        DOCUMENTS: run.corpus.fingerprint,
        **run.read(*ENCODER, "sample.near_duplicates"),
    }
    return run.make("mine", work, inputs=inputs, unit="queries")


def _check_sides(run: Run, made: Mapping[str, Made]) -> None:
    """Raises DataError where no query is left to learn from, to choose on, or to measure on."""
    drawn, kept = Counter(artifacts.splits(made).values()), artifacts.sides(made)
    uses = {"train": "to learn from", "dev": "to choose on"}
    uses |= {"test": "to measure on"} if run.labels.test_share else {}
    for side, use in uses.items():
        if not kept[side]:
            raise DataError(
                f"{sum(map(len, kept.values())):,} queries are left after the filters, and none {use}, where "
                f"{drawn[side]:,} documents were to give some; draw more (sample.n_docs), or filter less",
                path=run.folder("filter"),
            )
    if not artifacts.held_out(run, made).queries:
        shown = run.labels.choosing
        raise DataError(
            f"prompts show all {len(shown.queries):,} queries of the {shown.split} split, so none is left to choose "
            "on; show fewer (sample.n_examples), or others (sample.examples)"
        )
