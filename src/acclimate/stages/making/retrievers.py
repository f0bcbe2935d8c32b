"""From n-way examples to measured retrievers: train, label, distill, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from acclimate.base import distributed, models
from acclimate.base.files import write_json, write_jsonl
from acclimate.corpus.formats import read_nway, write_nway
from acclimate.learn.teachers.selection import teacher_warnings
from acclimate.measure.measures import MAIN, nothing_relevant
from acclimate.run.run import BASE_MEMBERS, DOCUMENTS, ENCODER, Run
from acclimate.run.workspace import Account, Made
from acclimate.search import measuring
from acclimate.search.names import SystemName
from acclimate.search.scorers import named
from acclimate.search.scorers.kept import Kept, Scores
from acclimate.stages import artifacts, measured
from acclimate.stages.distill import distill
from acclimate.stages.evaluate import evaluate
from acclimate.stages.label import label
from acclimate.stages.train import train
from acclimate.stages.tune import tuned

Progress = Callable[[int, int], None]


def make_train(run: Run, made: Mapping[str, Made]) -> Made:
    settings = run.settings["train"]

    def work(folder: Path, progress: Progress) -> Account:
        sides = artifacts.sides(made)
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
        DOCUMENTS: run.corpus.fingerprint,
        "base": models.weights_fingerprint(settings["base"]),
    }
    if settings["rerankers"] == "prompt":
        inputs["filter"] = made["filter"].fingerprint  # which says whose queries they are
    return run.make("train", work, inputs=inputs, unit="queries", keeps=settings["rerankers"] != "one")


def make_label(run: Run, made: Mapping[str, Made]) -> Made:
    def work(folder: Path, progress: Progress) -> Account:
        sides = artifacts.sides(made)
        held_out = artifacts.held_out(run, made)
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
                    for name, scorer in {**run.trained(made["train"]).rerankers(), **run.scorers()}.items()
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
            "chosen_on": str(held_out),
            "target_entropy": result.entropy,
            "scale": {**result.scale, "target": "in [0, 1]"},
            "ties": result.ties,
            "false_negatives": result.false_negatives,
        }
        return Account(
            len(sides["train"]) + len(sides["dev"]), len(result.train) + len(result.dev), result.dropped, notes=notes
        )

    inputs = {
        **{name: made[name].fingerprint for name in ("sample", "filter", "index", "train")},
        **run.read(*ENCODER, "train.max_tokens"),
        "notes of train": made["train"].noted(),
        DOCUMENTS: run.corpus.fingerprint,
        "dev": run.labels.choosing.fingerprint,
    }
    for name in run.other_scorers:
        inputs[name] = named.fingerprint_of(name)
    labelled = run.make("label", work, inputs=inputs, unit="pairs")
    settings = run.settings["label"]
    treated = {"keep": "kept", "drop": "dropped", "positive": "made positives"}[settings["false_negatives"]]
    share, near = settings["false_negative_share"], labelled.notes["false_negatives"]
    distributed.say("label", f"{near:,} candidates rated above {share:g} of their source document: {treated}")
    for warning in teacher_warnings(labelled.notes, run.student_kinds):
        distributed.warn("label", warning)
    return labelled


def make_distill(run: Run, made: Mapping[str, Made]) -> Made:
    def work(folder: Path, progress: Progress) -> Account:
        from acclimate.learn.students.lesson import Lesson

        texts = {query.query_id: query.text for side in artifacts.sides(made).values() for query in side}
        lesson = Lesson(texts, run.corpus, run.ids, run.vectors)
        (train, dev), *later = [
            [list(read_nway(made["label"].folder / f"{side}{which}.jsonl")) for side in ("train", "dev")]
            for which in artifacts.turns(made)
        ]
        held_out = artifacts.held_out(run, made)

        def learn(settings: Mapping[str, Any], into: Path) -> dict[str, dict[str, Any]]:
            return distill(train, dev, run.encoder, lesson, into, later, seed=run.seed, progress=progress, **settings)

        def reached(into: Path, notes: Mapping[str, Any]) -> dict[str, float]:
            notes = run.distilled(into, notes).index()
            members = {**run.members, **run.distilled(into, notes).members()}
            found = {kind: measuring.member_alone(run.ids, members, SystemName(kind).adapted()) for kind in notes}
            return {kind: measuring.mean(measuring.ndcg(retriever, held_out)) for kind, retriever in found.items()}

        notes = tuned(folder, run.settings["distill"], learn, reached)
        if distributed.is_main():
            notes = run.distilled(folder, notes).index()
        return Account(len(train), min(note["queries"] for note in notes.values()), notes=notes)

    inputs = {
        **{name: made[name].fingerprint for name in ("sample", "filter", "label", "index")},
        **run.read(*ENCODER),
        "notes of label": made["label"].noted("turns"),
        DOCUMENTS: run.corpus.fingerprint,
    }
    if run.settings["distill"]["tune"]:
        inputs["dev"] = run.labels.choosing.fingerprint
    return run.make("distill", work, inputs=inputs, unit="steps")


def make_evaluate(run: Run, made: Mapping[str, Made]) -> Made:
    settings = run.settings["evaluate"]

    def work(folder: Path, progress: Progress) -> Account:
        from acclimate.search import systems
        from acclimate.search.choice import choose, weigh_reranker
        from acclimate.search.without import Without

        judged = artifacts.test(run, made)
        queries, qrels, own = judged.queries, judged.qrels, judged.self_matches
        members = {**run.members, **run.distilled(made["distill"].folder, made["distill"].notes).members()}
        held_out = artifacts.held_out(run, made)
        reranker, depth = run.trained(made["train"]).reranker(), settings["rerank_depth"]
        chosen = choose(
            run.ids,
            members,
            held_out,
            lambda first: weigh_reranker(first, reranker, held_out, depth),
            trust=run.settings["label"]["trust"] if held_out.is_synthetic else 1.0,
            rerank=settings["rerank"],
        )
        contenders = systems.contenders(
            run.ids,
            members,
            chosen,
            reranker,
            {name: run.index_bytes(member) for name, member in members.items()},
            rerank_depth=depth,
        )
        if own.are_usual:
            contenders = [one._replace(retriever=Without(one.retriever, own.left_out)) for one in contenders]
        result = evaluate(
            contenders, queries, qrels, chosen.candidate, folder, seed=run.seed, progress=progress, **settings
        )
        write_json(folder / "chosen.json", {**chosen._asdict(), "on": str(held_out)})
        write_json(folder / "measured.json", measured.measured(result))
        write_jsonl(folder / "examples.jsonl", measured.examples(result, queries, qrels, run.documents))
        asked = result.per_query[chosen.candidate][MAIN]
        shown = 0 if judged.is_synthetic else len(run.labels.measuring.queries) - len(queries)
        dropped = {"example of a prompt": shown, "not drawn": len(queries) - len(asked)}
        notes = {
            "split": judged.split,
            "of": len(queries),
            "nothing_relevant": nothing_relevant([qrel for qrel in qrels if qrel.query_id in asked]),
            "identical": {"queries": len(own.documents.keys() & asked), "left_out": own.are_usual},
        }
        dropped = {reason: count for reason, count in dropped.items() if count}
        return Account(len(queries) + shown, len(asked), dropped, notes=notes)

    inputs = {
        **{name: made[name].fingerprint for name in ("sample", "filter", "index", "train", "label", "distill")},
        **run.read(*ENCODER, "train.max_tokens", "label.trust", "distill.max_active_dims"),
        **{f"notes of {name}": made[name].noted() for name in ("train", "distill")},
        DOCUMENTS: run.corpus.fingerprint,
        "labels": run.labels.measuring.fingerprint,
        "dev": run.labels.choosing.fingerprint,
    }
    return run.make("evaluate", work, inputs=inputs, unit="searches")
