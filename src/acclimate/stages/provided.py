"""Outputs of stages whose work the user provided: written queries, mined or scored examples, or a trained reranker.

Each writes what the stage it replaces would write, in the same formats, with a manifest that says what was provided, so
later stages need not know. Documents with queries are split as drawn ones are; near-duplicate documents, and all
positives of one query, are on the same side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from acclimate.base import models
from acclimate.base.digests import fingerprint
from acclimate.base.draw import uniform
from acclimate.base.files import write_json, write_jsonl
from acclimate.base.loading import check_model
from acclimate.base.progress import Progress
from acclimate.base.words import normalized_key, query_key
from acclimate.corpus import collections
from acclimate.corpus.eligible import keys_of
from acclimate.corpus.formats import write_nway, write_synthetic
from acclimate.corpus.near_duplicates import groups_of
from acclimate.corpus.provided_queries import ProvidedQueries
from acclimate.corpus.sides import sides_of
from acclimate.learn.teachers.rated_lists import Labels
from acclimate.learn.teachers.selection import TEACHER, Teachers
from acclimate.learn.teachers.turns import Rules, ScoredLists, turns_of
from acclimate.measure.measures import MAIN
from acclimate.records import NWay, PromptExample, Query, SyntheticQuery
from acclimate.run.output import Account
from acclimate.run.run import DOCUMENTS, Run
from acclimate.search import scorers
from acclimate.search.candidates import Candidates
from acclimate.search.names import RERANKER
from acclimate.search.scales import scale
from acclimate.search.scorers import named
from acclimate.search.weights import Relevance, mean_ndcg
from acclimate.stages.filter import Filtered
from acclimate.stages.generate import Generated
from acclimate.stages.label import Labeled
from acclimate.stages.mine import Mined
from acclimate.stages.sample import Sample, Sampled, draw_examples
from acclimate.stages.skipped import provided_stages
from acclimate.stages.train import TRAINING_QUERIES, Trained

PROVIDED = "given"  # name of the "teacher" of provided scores
JUDGED = "judged query"  # it measures or chooses, so it does not train
SHOWN = "example of a prompt"


def preview(run: Run, test_share: float) -> Sample:
    """The documents that have provided queries, each with its split."""
    provided = run.input.provided_queries
    assert provided is not None
    queries, _ = _usable(run, provided)
    source = {query.query_id: query.doc_id for query in queries}
    positives = [
        (source[example.query_id], example.doc_ids[0]) for example in provided.examples if example.query_id in source
    ]
    alike = run.settings["sample"]["near_duplicates"]
    groups = groups_of(source.values(), run.input.corpus, alike, parents=run.input.parents, together=positives)
    draws = {group: uniform(run.seed, "side", group) for group in groups.values()}
    sides = sides_of(draws, run.settings["sample"]["dev_share"], test_share)
    return Sample({doc_id: sides[group] for doc_id, group in groups.items()}, {}, _shown(run), {})


def sampled(run: Run) -> Sampled | None:
    """The documents that the provided queries are for; None if an LLM is to write queries."""
    test_share, provided = run.input.labels.test_share, run.input.provided_queries
    if provided is None:
        return None

    def work(folder: Path, progress: Progress) -> Account:
        drawn = preview(run, test_share)
        write_json(folder / "splits.json", drawn.splits)
        if drawn.examples:
            write_jsonl(folder / "examples.jsonl", (example._asdict() for example in drawn.examples))
        n_documents = len({query.doc_id for query in provided.queries})
        left_out = n_documents - len(drawn.splits)
        return Account(n_documents, len(drawn.splits), {"no query left": left_out} if left_out else {})

    inputs = {DOCUMENTS: run.input.corpus.fingerprint, "test_share": str(test_share), **_inputs(run, provided)}
    reads = ("near_duplicates", "dev_share", "examples", "n_examples")
    return run.make(Sampled, work, inputs=inputs, unit=run.input.unit, reads=reads)


def generated(run: Run, sampled: Sampled) -> Generated | None:
    """The provided queries that are neither judged nor shown in prompts; None if an LLM is to write queries."""
    provided = run.input.provided_queries
    if provided is None:
        return None

    def work(folder: Path, progress: Progress) -> Account:
        queries, dropped = _usable(run, provided)
        write_synthetic(folder / "queries.jsonl", queries)
        write_jsonl(folder / "rejects.jsonl", ())
        prompts = Counter(query.prompt for query in queries)
        notes = {
            PROVIDED: {"documents_with_other_text": provided.n_other_texts},
            "documents": len(sampled.splits),
            "documents_cut": 0,
            "prompts": dict(sorted(prompts.items())),
            "examples": len(sampled.examples),
        }
        return Account(len(queries) + sum(dropped.values()), len(queries), dropped, notes=notes)

    return run.make(
        Generated, work, inputs={"sample": sampled.fingerprint, **_inputs(run, provided)}, unit="queries", reads=()
    )


def mined(run: Run, filtered: Filtered) -> Mined | None:
    """The provided examples of the queries that passed the filters; None if there are none, or they have scores."""
    provided = run.input.provided_queries
    if provided is None or "mine" not in provided_stages(run):
        return None

    def work(folder: Path, progress: Progress) -> Account:
        examples, dropped = _of_queries(provided.examples, filtered.queries)
        write_nway(folder / "examples.jsonl", examples)
        return Account(len(provided.examples), len(examples), dropped, notes={"filled_at_random": 0})

    inputs = {"filter": filtered.fingerprint, PROVIDED: provided.fingerprint}
    return run.make(Mined, work, inputs=inputs, unit="queries", reads=())


def labeled(run: Run, sampled: Sampled, filtered: Filtered) -> Labeled | None:
    """The provided lists with their scores, on the scale of label.normalize; None if none have scores."""
    provided = run.input.provided_queries
    if provided is None or "label" not in provided_stages(run):
        return None
    settings = run.settings["label"]

    def work(folder: Path, progress: Progress) -> Account:
        ids, sides = run.base.ids, filtered.sides(sampled)
        queries = {query.query_id: query.as_query() for query in (*sides["train"], *sides["dev"])}
        examples, dropped = _of_queries(provided.examples, [*sides["train"], *sides["dev"]])
        lists = [_candidates(example, queries[example.query_id], ids.row) for example in examples]
        sources = [ids.row[example.doc_ids[0]] if example.has_positive else None for example in examples]
        in_dev = {query.query_id for query in sides["dev"]}
        held_out = [
            (of_query, source)
            for of_query, source in zip(lists, sources, strict=True)
            if of_query.query.query_id in in_dev and source is not None
        ]
        ndcg = _ndcg(held_out)
        teacher = {"name": TEACHER, MAIN: ndcg, "weight": 1.0, "used": True, "reason": "its lists were given"}
        kind, rules = settings["normalize"], Rules(**{name: settings[name] for name in Rules._fields})
        scored = ScoredLists(lists, sources, ids, scale(kind, lists, [PROVIDED]), {PROVIDED: 1.0})
        turns = turns_of([(PROVIDED, {PROVIDED: 1.0})], scored, in_dev, rules._replace(windows=0))
        (turn,) = turns.turns
        result = Labels.of(turns, scored, [PROVIDED], Teachers({}, [teacher]), normalize=kind, dropped=dropped)
        write_nway(folder / "train.jsonl", turn.train)
        write_nway(folder / "dev.jsonl", turn.dev)
        write_jsonl(folder / "scores.jsonl", result.rated)
        notes = {**result.notes, "chosen_on": ""}
        return Account(len(provided.examples), len(turn.train) + len(turn.dev), result.dropped, notes=notes)

    inputs = {
        **{output.name: output.fingerprint for output in (sampled, filtered)},
        DOCUMENTS: run.input.corpus.fingerprint,
        PROVIDED: provided.fingerprint,
    }
    reads = [name for name in Rules._fields if name != "windows"]
    return run.make(Labeled, work, inputs=inputs, unit="pairs", reads=reads)


def trained(run: Run) -> Trained | None:
    """The provided reranker, referenced by name and not copied; None if one is to be trained."""
    model = run.provided.reranker
    if model is None:
        return None

    def work(folder: Path, progress: Progress) -> Account:
        write_json(folder / TRAINING_QUERIES, {})
        return Account(notes={PROVIDED: model, "rerankers": [], "weights": weights})

    weights = named.fingerprint_of(model)
    return run.make(Trained, work, inputs={RERANKER: weights}, unit="queries", reads=())


def check(run: Run, *, asks: bool) -> None:
    """Check that the documents exist, and that provided files and reranker are usable, without reading the documents.

    Raises DataError or SettingError. asks: see `chain.check`.
    """
    if run.input.kept is None:
        collections.check_name(run.input.source)
    run.input.check()
    if (reranker := run.provided.reranker) is None:
        return
    model = named.split(reranker)[1]
    if asks or models.resolve(model).is_local:
        named.check_is_reranker(reranker)
        check_model(model, scorers.kind_of(model))  # downloads one from a hub


def left_out(run: Run, provided: ProvidedQueries) -> dict[str, int]:
    """Number of provided queries that may not be trained on, by reason."""
    return _usable(run, provided)[1]


def _inputs(run: Run, provided: ProvidedQueries) -> dict[str, str]:
    """Fingerprints of all that decides which provided queries are used."""
    return {
        PROVIDED: provided.fingerprint,
        "judged": fingerprint(sorted(_judged(run))),
        "examples": fingerprint(_shown(run)),
    }


def _usable(run: Run, provided: ProvidedQueries) -> tuple[list[SyntheticQuery], dict[str, int]]:
    """The provided queries that may be trained on, and how many may not, by reason."""
    judged, shown = _judged(run), _shown(run)
    corpus, parents = run.input.corpus, run.input.parents
    of_examples = keys_of(shown)

    def key_of(doc_id: str) -> bytes:
        return normalized_key(corpus[doc_id].default_text())

    texts = {query_key(example.query) for example in shown}
    queries: list[SyntheticQuery] = []
    dropped = Counter(provided.dropped)
    for query in provided.queries:
        text, doc_id = query_key(query.text), query.doc_id
        if text in judged:
            dropped[JUDGED] += 1
        elif shown and (text in texts or {parents.get(doc_id, doc_id), key_of(doc_id)} & of_examples):
            dropped[SHOWN] += 1
        else:
            queries.append(query)
    return queries, dict(sorted(dropped.items()))


def _judged(run: Run) -> set[str]:
    """Keys of the judged queries, which measure or choose."""
    labels = run.input.labels
    return {query_key(query.text) for query in (*labels.choosing.queries, *labels.measuring.queries)}


def _shown(run: Run) -> list[PromptExample]:
    """The task examples (`sample.examples`) that were shown to the LLM that wrote the queries."""
    settings = run.settings["sample"]
    source = settings["examples"]
    return draw_examples(run.input.pairs(source) if source else (), settings["n_examples"], run.seed)


def _of_queries(examples: Sequence[NWay], queries: Sequence[SyntheticQuery]) -> tuple[list[NWay], dict[str, int]]:
    """The examples of these queries that have at least two documents, and how many were dropped, by reason."""
    query_ids = {query.query_id for query in queries}
    known = [example for example in examples if example.query_id in query_ids]
    kept = [example for example in known if len(example.doc_ids) > 1]
    dropped = {"query is left out": len(examples) - len(known), "one document": len(known) - len(kept)}
    return kept, {reason: count for reason, count in dropped.items() if count}


def _candidates(example: NWay, query: Query, row_of: Mapping[str, int]) -> Candidates:
    """A provided list in the form in which retrievers return candidates."""
    rows = np.array([row_of[doc_id] for doc_id in example.doc_ids], dtype=np.int64)
    return Candidates(query, rows, {PROVIDED: np.array(example.scores, dtype=np.float32)})


def _ndcg(lists: Sequence[tuple[Candidates, int]]) -> float:
    """nDCG@10 of provided scores. lists: each with the row of its source document, the only one that is relevant."""
    relevance = Relevance.equal([{source: 1} for _, source in lists])
    return round(mean_ndcg([of_query for of_query, _ in lists], relevance, PROVIDED), 4) if lists else 0.0
