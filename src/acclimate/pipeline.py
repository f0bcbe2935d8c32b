"""The whole way through, in order: read this first.

    documents -> index -> sample -> generate -> filter -> mine -> train -> label -> distill -> evaluate -> report

Between sample and generate comes `seed`, where prompts are made from the corpus first.

Each stage here reads files of earlier ones, calls the function that does the work (in `stages`), and writes files of
its own; the workspace passes over what is made already. Nothing later is needed by anything earlier.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate import distributed, llm, measuring, models, prompts
from acclimate.checks import check
from acclimate.errors import DataError, SettingError
from acclimate.files import fingerprint, read_json, read_jsonl, write_json, write_jsonl
from acclimate.formats import read_nway, read_synthetic, write_nway, write_synthetic
from acclimate.judges import RunJudges
from acclimate.prompts import Material
from acclimate.prompts.files import write_toml
from acclimate.records import PromptExample, Qrel, Query, SyntheticQuery
from acclimate.report import assemble
from acclimate.run import BASE_MEMBERS, SOURCES, Run, normalized
from acclimate.score import named
from acclimate.scores import Kept, Scores
from acclimate.stages.distill import distill
from acclimate.stages.evaluate import evaluate
from acclimate.stages.filter import filter_queries
from acclimate.stages.generate import generate, mix_of
from acclimate.stages.index import index
from acclimate.stages.label import label
from acclimate.stages.mine import mine
from acclimate.stages.sample import sample
from acclimate.stages.seed import seed_prompts
from acclimate.stages.teachers import warnings as teacher_warnings
from acclimate.stages.train import train
from acclimate.stages.tune import tuned
from acclimate.workspace import Account, Made

if TYPE_CHECKING:
    from acclimate.retrieve.weights import HeldOut

Progress = Callable[[int, int], None]

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
SYNTHETIC_TEST_SHARE = 0.2  # of the drawn documents, where no labelled queries measure


def adapt(run: Run, *, until: str = "evaluate") -> dict[str, Any] | None:
    """Run every stage up to `until`; the report after the last one, else None.

    Raises BudgetExceeded when LLMs have used up `run.budget`; what they answered is kept.
    """
    if until == "seed" and not run.seeds_prompts:
        raise SettingError("no prompt of this run is made from the corpus; add: --set generate.prompt=adapted")
    check(run)
    distributed.main_first(lambda: run.corpus)  # a collection that cannot be read leaves the run's description as it is
    if source := run.settings["sample"]["examples"]:
        run.pairs(source)  # if there are none, that is said before everything is indexed
    if distributed.is_main():
        write_json(run.workspace.folder / "run.json", run.summary)
    made: dict[str, Made] = {}
    for stage, make in _ORDER.items():
        if stage != "seed" or run.seeds_prompts:
            made[stage] = make(run, made)
        if stage == until:
            break
    return assemble.write(run, made) if "evaluate" in made and distributed.is_main() else None


def make(run: Run, stage: str, made: Mapping[str, Made]) -> Made:
    """One stage of `run` from the stages before it, which may be those of another run with the same index."""
    return _ORDER[stage](run, made)


def made_already(run: Run, until: str) -> dict[str, Made]:
    """The stages of a run up to `until`, as they are in its folder. Raises DataError when one is missing."""
    found: dict[str, Made] = {}
    for stage in _ORDER:
        manifest = run.workspace.manifest(stage)
        if manifest is not None:
            found[stage] = Made(stage, run.folder(stage), manifest, resumed=True)
        elif stage != "seed" or run.seeds_prompts:
            folder = run.workspace.folder
            raise DataError(f"the stage {stage} is not made yet; go on with: acclimate {until} {folder}", path=folder)
        if stage == until:
            break
    return found


def _index(run: Run, made: Mapping[str, Made]) -> Made:
    def work(folder: Path, progress: Progress) -> Account:
        index(run.corpus, run.encoder, folder, progress=progress, **run.settings["index"])
        return Account(len(run.documents), len(run.corpus))

    inputs = {
        "documents": run.corpus.fingerprint,
        "order of the documents": fingerprint(run.corpus.ids),  # a row of the index is a place in it
        "base": run.encoder_fingerprint,
    }
    return run.make("index", work, inputs=inputs, unit="documents")


def _sample(run: Run, made: Mapping[str, Made]) -> Made:
    test_share = 0.0 if run.labelled[0] else SYNTHETIC_TEST_SHARE

    def work(folder: Path, progress: Progress) -> Account:
        drawn = sample(
            run.corpus,
            test_share,
            run.pairs,
            lambda: run.vectors.pooled,
            run.parents,
            seed=run.seed,
            **run.settings["sample"],
        )
        write_json(folder / "splits.json", drawn.splits)
        if drawn.examples:
            write_jsonl(folder / "examples.jsonl", (one._asdict() for one in drawn.examples))
        return Account(len(run.corpus), len(drawn.splits), drawn.dropped)

    inputs = {"documents": run.corpus.fingerprint, "test_share": str(test_share)}
    if source := run.settings["sample"]["examples"]:
        inputs["examples"] = fingerprint(run.pairs(source))
    if run.settings["sample"]["method"] == "diverse":
        inputs["index"] = made["index"].fingerprint
    return run.make("sample", work, inputs=inputs, unit="documents")


def _seed(run: Run, made: Mapping[str, Made]) -> Made:
    settings = run.settings["seed"]
    splits: dict[str, str] = read_json(made["sample"].folder / "splits.json")
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
        "documents": fingerprint(docs),
        "llm": llm.fingerprint_of(settings["llm"]),
        "prompt": prompts.load_mix(settings["prompt"]).fingerprint,
    }
    return run.make("seed", work, inputs=inputs, unit="prompts")


def _generate(run: Run, made: Mapping[str, Made]) -> Made:
    settings = run.settings["generate"]
    splits = read_json(made["sample"].folder / "splits.json")
    material = Material(
        _examples(made),
        sorted(made["seed"].folder.glob("adapted-*.toml")) if "seed" in made else (),
        run.collection_name,
    )

    def work(folder: Path, progress: Progress) -> Account:
        docs = [run.corpus[doc_id] for doc_id in splits]
        with run.completions("generate") as completions:
            result = generate(docs, completions, material, seed=run.seed, progress=progress, **settings)
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
        "documents": fingerprint([run.corpus[doc_id] for doc_id in splits]),
        "llm": llm.fingerprint_of(settings["llm"]),
        "prompt": mix_of(settings["prompt"], material, **shown).fingerprint,
    }
    return run.make("generate", work, inputs=inputs, unit="queries")


def _filter(run: Run, made: Mapping[str, Made]) -> Made:
    def work(folder: Path, progress: Progress) -> Account:
        queries = list(read_synthetic(made["generate"].folder / "queries.jsonl"))
        splits: dict[str, str] = read_json(made["sample"].folder / "splits.json")
        held_out = {doc_id for doc_id, side in splits.items() if side != "train"}
        judges = RunJudges(run, held_out, folder, progress)
        result = filter_queries(queries, judges, **settings)
        write_synthetic(folder / "queries.jsonl", result.queries)
        write_jsonl(folder / "scores.jsonl", result.judged)
        account = Account(len(queries), len(result.queries), result.dropped)
        account.notes["funnel"] = [list(step) for step in result.funnel]
        if "filter" in run.llms:
            account.notes |= run.asked("filter")
            account.tokens = judges.tokens
            account.cost_usd = run.budget.cost(settings["llm"], judges.tokens)
        return account

    settings = run.settings["filter"]
    inputs = {name: made[name].fingerprint for name in ("sample", "generate", "index")}
    inputs["documents"] = run.corpus.fingerprint
    if "filter" in run.llms:
        inputs["llm"] = llm.fingerprint_of(settings["llm"])
        inputs["judge"] = prompts.judge(settings["judge"]).fingerprint
    if settings["retriever"] == "trained":
        inputs["training"] = fingerprint(run.settings["distill"])
    if settings["reranker"]:
        inputs["reranker"] = models.weights_fingerprint(settings["reranker"])
    return run.make("filter", work, inputs=inputs, unit="queries")


def _mine(run: Run, made: Mapping[str, Made]) -> Made:
    def work(folder: Path, progress: Progress) -> Account:
        from acclimate.retrieve.system import System

        queries = list(read_synthetic(made["filter"].folder / "queries.jsonl"))
        half = System(run.ids, run.members, SOURCES, dict.fromkeys(SOURCES, 0.5))
        settings = run.settings["mine"]
        hits = half.search([query.as_query() for query in queries], max(100, settings["depth"]))
        result = mine(queries, hits, run.corpus, seed=run.seed, **settings)
        write_nway(folder / "examples.jsonl", result.examples)
        return Account(len(queries), len(result.examples), result.dropped, notes={"filled_at_random": result.filled})

    inputs = {
        "filter": made["filter"].fingerprint,
        "index": made["index"].fingerprint,
        "documents": run.corpus.fingerprint,
    }
    return run.make("mine", work, inputs=inputs, unit="queries")


def _train(run: Run, made: Mapping[str, Made]) -> Made:
    settings = run.settings["train"]

    def work(folder: Path, progress: Progress) -> Account:
        sides = _sides(made)
        asked = [*sides["train"], *sides["dev"]]
        examples = list(read_nway(made["mine"].folder / "examples.jsonl"))
        of = {side: {query.query_id for query in queries} for side, queries in sides.items()}
        training = [example for example in examples if example.query_id in of["train"]]
        result = train(
            training,
            [example for example in examples if example.query_id in of["dev"]],
            {query.query_id: query.text for query in asked},
            run.corpus,
            folder,
            {query.query_id: query.prompt for query in asked},
            seed=run.seed,
            progress=progress,
            **settings,
        )
        return Account(len(training), result.notes["queries"], notes=result.notes)

    inputs = {
        "mine": made["mine"].fingerprint,
        "sample": made["sample"].fingerprint,
        "documents": run.corpus.fingerprint,
        "base": models.weights_fingerprint(settings["base"]),
    }
    if settings["rerankers"] == "prompt":
        inputs["filter"] = made["filter"].fingerprint  # which says whose queries they are
    return run.make("train", work, inputs=inputs, unit="queries", keeps=settings["rerankers"] != "one")


def _label(run: Run, made: Mapping[str, Made]) -> Made:
    def work(folder: Path, progress: Progress) -> Account:
        sides = _sides(made)
        held_out = run.held_out(sides["dev"], _shown(made))
        with Scores(run.workspace.folder / "scores.sqlite") as scores:
            result = label(
                sides["train"],
                sides["dev"],
                held_out,
                run.find,
                run.ids,
                BASE_MEMBERS,
                {
                    name: Kept(scorer, scores, run.corpus.fingerprint)
                    for name, scorer in run.scorers(made["train"].folder).items()
                },
                progress=progress,
                **run.settings["label"],
            )
        for number, turn in enumerate(result.turns, 1):
            which = f"-{number}" if len(result.turns) > 1 else ""
            write_nway(folder / f"train{which}.jsonl", turn.train)
            write_nway(folder / f"dev{which}.jsonl", turn.dev)
        write_jsonl(folder / "scores.jsonl", result.rated)
        notes = {
            "teachers": result.teachers,
            "weights": result.weights,
            "turns": [turn.teacher for turn in result.turns],
            "reranker": result.reranker._asdict() if result.reranker else None,
            "chosen_on": str(held_out),
            "target_entropy": result.entropy,
            "scale": {**result.scale, "target": "in [0, 1]"},
            "ties": result.ties,
            "false_negatives": result.false_negatives,
        }
        return Account(
            len(sides["train"]) + len(sides["dev"]), len(result.train) + len(result.dev), result.dropped, notes=notes
        )

    inputs = {name: made[name].fingerprint for name in ("sample", "filter", "index", "train")}
    inputs["dev"] = run.dev_fingerprint
    for name in run.other_scorers:
        inputs[name] = named.fingerprint_of(name)
    labelled = run.make("label", work, inputs=inputs, unit="pairs")
    settings = run.settings["label"]
    treated = {"keep": "kept", "drop": "dropped", "positive": "made positives"}[settings["false_negatives"]]
    share, near = settings["false_negative_share"], labelled.notes["false_negatives"]
    print(
        f"{'label':<10} {near:,} candidates rated above {share:g} of their source document: {treated}", file=sys.stderr
    )
    for warning in teacher_warnings(labelled.notes, run.student_kinds):
        print(f"{'label':<10} warning: {warning}", file=sys.stderr, flush=True)
    return labelled


def _distill(run: Run, made: Mapping[str, Made]) -> Made:
    def work(folder: Path, progress: Progress) -> Account:
        from acclimate.students.kinds import Lesson

        texts = {query.query_id: query.text for side in _sides(made).values() for query in side}
        lesson = Lesson(texts, run.corpus, run.ids, run.vectors)
        (train, dev), *later = [
            [list(read_nway(made["label"].folder / f"{side}{which}.jsonl")) for side in ("train", "dev")]
            for which in _turns(made)
        ]
        held_out = held_out_of(run, made)

        def learn(settings: Mapping[str, Any], into: Path) -> dict[str, dict[str, Any]]:
            return distill(train, dev, run.encoder, lesson, into, later, seed=run.seed, progress=progress, **settings)

        def reached(into: Path, notes: Mapping[str, Any]) -> dict[str, float]:
            notes = run.distilled(into, notes).index()
            members = {**run.members, **run.distilled(into, notes).members()}
            on = measuring.judged(held_out, run.ids)
            found = {kind: measuring.alone(run.ids, members, f"{kind}:adapted") for kind in notes}
            return {kind: measuring.mean(measuring.ndcg(retriever, on)) for kind, retriever in found.items()}

        notes = tuned(folder, run.settings["distill"], learn, reached)
        if distributed.is_main():
            notes = run.distilled(folder, notes).index()
        return Account(len(train), min(note["queries"] for note in notes.values()), notes=notes)

    inputs = {
        **{name: made[name].fingerprint for name in ("sample", "filter", "label", "index")},
        "documents": run.corpus.fingerprint,
    }
    if run.settings["distill"]["tune"]:
        inputs["dev"] = run.dev_fingerprint
    return run.make("distill", work, inputs=inputs, unit="steps")


def _turns(made: Mapping[str, Made]) -> list[str]:
    """What the names of `label`'s files end in, one for each teacher that students learn from in turn."""
    count = len(made["label"].notes["turns"])
    return [f"-{number}" for number in range(1, count + 1)] if count > 1 else [""]


def _evaluate(run: Run, made: Mapping[str, Made]) -> Made:
    settings = run.settings["evaluate"]

    def work(folder: Path, progress: Progress) -> Account:
        from acclimate import systems
        from acclimate.retrieve.weights import Weighed

        sides = _sides(made)
        split, queries, qrels, left_out = test_of(run, made)
        if not split:
            queries = [query.as_query() for query in sides["test"]]
            qrels = [Qrel(query.query_id, run.parents.get(query.doc_id, query.doc_id), 1) for query in sides["test"]]
        members = {**run.members, **run.distilled(made["distill"].folder, made["distill"].notes).members()}
        held_out = held_out_of(run, made)
        rated = made["label"].notes["reranker"]
        chosen = systems.choose(
            run.ids,
            members,
            held_out,
            Weighed(**rated) if rated else None,
            trust=run.settings["label"]["trust"] if held_out.synthetic else 1.0,
            rerank=settings["rerank"],
        )
        contenders = systems.contenders(
            run.ids,
            members,
            chosen,
            run.reranker(made["train"].folder),
            {name: run.index_bytes(member) for name, member in members.items()},
            rerank=settings["rerank"],
            rerank_depth=settings["rerank_depth"],
        )
        result = evaluate(
            contenders, queries, qrels, chosen.candidate, folder, seed=run.seed, progress=progress, **settings
        )
        write_json(folder / "chosen.json", {**chosen._asdict(), "on": str(held_out)})
        write_json(folder / "measured.json", assemble.measured(result))
        write_jsonl(folder / "examples.jsonl", assemble.examples(result, queries, qrels, run.documents))
        asked = len(next(iter(result.per_query.values()))[next(iter(result.systems[0]["measures"]))])
        dropped = {"example of a prompt": len(left_out)} if left_out else {}
        return Account(len(queries) + len(left_out), asked, dropped, notes={"split": split or "synthetic"})

    inputs = {
        **{name: made[name].fingerprint for name in ("sample", "filter", "index", "train", "label", "distill")},
        "documents": run.corpus.fingerprint,
        "labels": run.labels_fingerprint,
        "dev": run.dev_fingerprint,
    }
    return run.make("evaluate", work, inputs=inputs, unit="searches")


def held_out_of(run: Run, made: Mapping[str, Made]) -> HeldOut:
    """What choices are made on: real dev queries where there are some, else synthetic ones."""
    return run.held_out(_sides(made)["dev"], _shown(made))


def test_of(run: Run, made: Mapping[str, Made]) -> tuple[str, list[Query], list[Qrel], list[Query]]:
    """The split that measures, its queries, its judgments, and the queries left out because a prompt shows them.

    The split is "" and there is nothing in it where nothing is labelled.
    """
    split, queries, qrels = run.labelled
    left_out = [query for query in queries if normalized(query.text) in _shown(made)]
    return split, [query for query in queries if query not in left_out], qrels, left_out


def _examples(made: Mapping[str, Made]) -> list[PromptExample]:
    """What prompts show of the task itself."""
    path = made["sample"].folder / "examples.jsonl"
    return [PromptExample(**row) for _, row in read_jsonl(path)] if path.exists() else []


def _shown(made: Mapping[str, Made]) -> set[str]:
    """The queries that an LLM saw as examples: they measure nothing and choose nothing."""
    return {normalized(one.query) for one in _examples(made)}


def _sides(made: Mapping[str, Made]) -> dict[str, list[SyntheticQuery]]:
    """The kept queries by the side that their source document is on: train, dev, test."""
    splits: dict[str, str] = read_json(made["sample"].folder / "splits.json")
    sides: dict[str, list[SyntheticQuery]] = {"train": [], "dev": [], "test": []}
    for query in read_synthetic(made["filter"].folder / "queries.jsonl"):
        sides[splits[query.doc_id]].append(query)
    return sides


_ORDER: dict[str, Callable[[Run, Mapping[str, Made]], Made]] = {
    "index": _index,
    "sample": _sample,
    "seed": _seed,
    "generate": _generate,
    "filter": _filter,
    "mine": _mine,
    "train": _train,
    "label": _label,
    "distill": _distill,
    "evaluate": _evaluate,
}
