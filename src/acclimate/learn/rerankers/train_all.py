"""Train all rerankers of a run, one per group of queries; finished ones are reused, and several may be merged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.base import distributed, models
from acclimate.base.digests import fingerprint
from acclimate.base.draw import subset
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import read_state, write_json
from acclimate.base.progress import Progress
from acclimate.base.text import counted
from acclimate.base.version import __version__
from acclimate.learn.rerankers.groups import NAME, Group, group_queries
from acclimate.learn.rerankers.steps import most_queries
from acclimate.learn.rerankers.texts import Texts
from acclimate.records import NWay, Query
from acclimate.search import scorers

if TYPE_CHECKING:
    from acclimate.learn.rerankers.hyperparameters import Hyperparameters

WITHOUT_NEGATIVES = "mine.n_ways is 1, and a reranker needs negatives; expected 2 or more"
TRAINING_QUERIES = "queries.json"  # reranker -> ids of its training queries


def train_rerankers(
    examples: Sequence[NWay],
    dev: Sequence[NWay],
    texts: Texts,
    folder: Path,
    prompts: Mapping[str, str],
    *,
    settings: Mapping[str, Any],
    progress: Callable[[int, int], None],
    keeps_one: bool = False,
    stage: str = "train",
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Train rerankers into `folder`; `settings` are those of `stages.train`, and the seed.

    Several rerankers that an interrupted run finished are reused; with keeps_one, so is a single one. Returns paths by
    name, and notes on the training. stage: shows how many held-out queries are ranked. Raises DataError if there are
    too few examples.
    """
    from acclimate.learn.rerankers.checkpoints import remove_checkpoints
    from acclimate.learn.rerankers.hyperparameters import Hyperparameters
    from acclimate.learn.rerankers.training import train_reranker

    hyperparameters = Hyperparameters(**{name: settings[name] for name in Hyperparameters.__dataclass_fields__})
    groups = _groups(examples, dev, prompts, hyperparameters, settings)
    several = len(groups) > 1
    keys = {group.name: _key(group, texts, settings) for group in groups}
    keeps = several or keeps_one
    notes = {name: done for name, key in keys.items() if keeps and (done := _done(folder, name, key))}
    notes = distributed.broadcast(notes)
    if distributed.is_main():
        _clear(folder, set(notes))
    sizes = [hyperparameters.steps(group.examples) * hyperparameters.queries_at_once for group in groups]
    for number, group in enumerate(groups):
        if group.name in notes:
            continue
        before = sum(sizes[:number])
        notes[group.name] = train_reranker(
            group,
            texts,
            folder,
            hyperparameters,
            key=keys[group.name],
            progress=lambda done, _, before=before: progress(before + done, sum(sizes)),
            held_out=Progress(stage, "held-out queries"),
        ) | ({"prompts": list(group.prompts)} if group.prompts else {})
        if distributed.is_main():
            if keeps:
                write_json(folder / f"{group.name}.json", {"key": keys[group.name], "notes": notes[group.name]})
            remove_checkpoints(folder)
    if distributed.is_main():
        remove_checkpoints(folder)  # left if interrupted right after finishing
        query_ids = {group.name: [example.query_id for example in group.examples] for group in groups}
        write_json(folder / TRAINING_QUERIES, query_ids)
    paths = {group.name: folder / group.name for group in groups}
    summary: dict[str, Any] = {
        "queries": sum(len(group.examples) for group in groups),
        "steps": sum(note["steps"] for note in notes.values()),
        "rerankers": [notes[group.name] for group in groups],
    }
    if settings["merge"] != "none" and several and distributed.is_main():
        summary["merged"] = _merged(paths, folder, sorted(dev), texts, settings)
        paths = {NAME: folder / NAME}
    for warning in collapse_warnings(summary):
        distributed.warn("train", warning)
    return paths, summary


def _groups(
    examples: Sequence[NWay],
    dev: Sequence[NWay],
    prompts: Mapping[str, str],
    hyperparameters: Hyperparameters,
    settings: Mapping[str, Any],
) -> list[Group]:
    """The queries of each reranker. Raises DataError if they are too few, SettingError if they have no negatives."""
    if not examples or not dev:
        raise DataError(
            f"{len(examples)} training and {counted(len(dev), 'held-out example')}; expected both (more documents?)"
        )
    if not any(example.doc_ids[1:] for example in examples):
        raise SettingError(WITHOUT_NEGATIVES)
    parts = {name: settings[name] for name in ("rerankers", "min_queries", "seed")}
    groups = [
        _limited(group, settings["n_ways"], most_queries(**settings), settings["seed"])
        for group in group_queries(examples, dev, prompts, **parts)
    ]
    for group in groups:
        if min(len(group.dev), len(group.examples) // hyperparameters.batch_size) < distributed.size() > 1:
            raise DataError(
                f"{group.name}: {len(group.examples)} training and {counted(len(group.dev), 'held-out query')} are "
                f"too few for {distributed.size()} processes with batches of {hyperparameters.batch_size}; start fewer"
            )
    return groups


def collapse_warnings(notes: Mapping[str, Any]) -> list[str]:
    """Warnings about rerankers that collapsed in training. notes: of the training, see `train_rerankers`."""
    return [
        f"{note['name']} has collapsed: it learned nothing that helps on held-out queries (nDCG@10 "
        f"{note['dev_ndcg']:.3f}, scores of a list differ by {note['spread']:.2g}). Lower train.learning_rate, or "
        "train on more queries."
        for note in [*notes["rerankers"], *([notes["merged"]] if "merged" in notes else [])]
        if note["collapsed"]
    ]


def _limited(group: Group, n_ways: int, max_queries: int, seed: int) -> Group:
    """The group with at most `max_queries` examples, drawn, each with its first `n_ways` documents."""
    examples = sorted(subset(group.examples, max_queries, seed), key=lambda example: example.query_id)
    dev = sorted(group.dev, key=lambda example: example.query_id)
    return group._replace(examples=_cut(examples, n_ways), dev=_cut(dev, n_ways))


def _cut(examples: Sequence[NWay], n_ways: int) -> list[NWay]:
    if not n_ways:
        return list(examples)
    return [example._replace(doc_ids=example.doc_ids[:n_ways], scores=example.scores[:n_ways]) for example in examples]


def _key(group: Group, texts: Texts, settings: Mapping[str, Any]) -> str:
    """Digest of all that a reranker depends on."""
    alone = {name: value for name, value in settings.items() if name not in ("rerankers", "merge", "min_queries")}
    sides = (group.examples, group.dev)
    docs = sorted({doc_id for side in sides for example in side for doc_id in example.doc_ids})
    return fingerprint(
        __version__,
        models.dtype_name(),
        models.weights_fingerprint(settings["base"]),
        alone,
        [[(texts.query(example), *example) for example in side] for side in sides],
        [texts.corpus[doc_id] for doc_id in docs],
    )


def _done(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    """The notes of an existing reranker with this key; None if there is none."""
    return read_state(folder / f"{name}.json", key).get("notes") if (folder / name).is_dir() else None


def _clear(folder: Path, kept: set[str]) -> None:
    """Remove all rerankers but these, finished or not."""
    for path in sorted(folder.glob(f"{NAME}*")):
        if path.name.removesuffix(".json") not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _merged(
    paths: Mapping[str, Path],
    folder: Path,
    dev: Sequence[NWay],
    texts: Texts,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the merged reranker, and evaluate it on all held-out queries."""
    from acclimate.learn.rerankers.merge import merge as merge_weights
    from acclimate.learn.rerankers.ranking import FLAT, by_list, ranking_of

    method = settings["merge"]
    merge_weights(list(paths.values()), folder / NAME, method=method)
    scorer = scorers.load(folder / NAME, texts.corpus, max_tokens=settings["max_tokens"])
    lists = _cut(dev, settings["n_ways"])
    queries = {example.query_id: Query(example.query_id, texts.query(example)) for example in lists}
    pairs = [(queries[example.query_id], doc_id) for example in lists for doc_id in example.doc_ids]
    ndcg, spread = ranking_of(by_list(lists, scorer.score(pairs)))
    note = {"name": NAME, "method": method, "of": list(paths), "dev_ndcg": round(ndcg, 5), "spread": round(spread, 5)}
    return note | {"collapsed": not spread >= FLAT}
