"""What stages come to where others did their work: queries that are written, examples that are mined or rated, and a
reranker that is trained already.

Each leaves what the stage in whose place it is would leave, so that nobody after it knows the difference: files in the
same formats, and a manifest that says what was given. Documents with queries get their sides as drawn ones do; those
that nearly are each other are on one side, and so are all positives of a query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from acclimate.base import models
from acclimate.base.digests import fingerprint, folder_fingerprint
from acclimate.base.draw import uniform
from acclimate.base.files import write_json, write_jsonl
from acclimate.base.loading import check_model
from acclimate.base.progress import Progress
from acclimate.base.words import normalized
from acclimate.corpus import collections
from acclimate.corpus.formats import write_nway, write_synthetic
from acclimate.corpus.judged import SYNTHETIC, Judged
from acclimate.corpus.near_duplicates import groups_of
from acclimate.corpus.sides import sides_of
from acclimate.corpus.start import Start
from acclimate.learn.teachers.rated_lists import Labels, Rules, turns_of
from acclimate.learn.teachers.selection import RERANKER, TEACHER
from acclimate.measure.measures import MAIN
from acclimate.records import Doc, NWay, PromptExample, Qrel, Query, SyntheticQuery
from acclimate.run.output import Account
from acclimate.run.run import DOCUMENTS, Run
from acclimate.search import scorers
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids
from acclimate.search.scales import scale
from acclimate.search.scorers import named
from acclimate.search.weights import answers_of, mean_ndcg
from acclimate.stages.filter import Filtered
from acclimate.stages.generate import Generated
from acclimate.stages.label import Labeled
from acclimate.stages.mine import Mined
from acclimate.stages.sample import Sample, Sampled, drawn_examples, text_key
from acclimate.stages.skipped import taken
from acclimate.stages.train import TAUGHT, Trained

GIVEN = "given"  # who rated the lists that were given, and who wrote the queries
JUDGED = "judged query"  # which measures or chooses, and so does not teach
SHOWN = "example of a prompt"


def foreseen(run: Run, test_share: float) -> Sample:
    """The documents that have queries, each with its side."""
    start = run.input.start
    assert start is not None
    queries, _ = _usable(run, start)
    source = {query.query_id: query.doc_id for query in queries}
    positives = [
        (source[example.query_id], example.doc_ids[0]) for example in start.examples if example.query_id in source
    ]
    alike = run.settings["sample"]["near_duplicates"]
    groups = groups_of(source.values(), run.input.corpus, alike, parents=run.input.parents, together=positives)
    draws = {group: uniform(run.seed, "side", group) for group in groups.values()}
    sides = sides_of(draws, run.settings["sample"]["dev_share"], test_share)
    return Sample({doc_id: sides[group] for doc_id, group in groups.items()}, {}, _shown(run), {})


def sampled(run: Run) -> Sampled | None:
    """The documents that the given queries are for; None where an LLM writes them."""
    test_share, start = run.input.labels.test_share, run.input.start
    if start is None:
        return None

    def work(folder: Path, progress: Progress) -> Account:
        drawn = foreseen(run, test_share)
        write_json(folder / "splits.json", drawn.splits)
        if drawn.examples:
            write_jsonl(folder / "examples.jsonl", (example._asdict() for example in drawn.examples))
        n_documents = len({query.doc_id for query in start.queries})
        left_out = n_documents - len(drawn.splits)
        return Account(n_documents, len(drawn.splits), {"no query left": left_out} if left_out else {})

    inputs = {DOCUMENTS: run.input.corpus.fingerprint, "test_share": str(test_share), **_inputs(run, start)}
    reads = ("near_duplicates", "dev_share", "examples", "n_examples")
    return run.make(Sampled, work, inputs=inputs, unit="documents", reads=reads)


def generated(run: Run, sampled: Sampled) -> Generated | None:
    """The given queries, but for those that would teach what measures; None where an LLM writes them."""
    start = run.input.start
    if start is None:
        return None

    def work(folder: Path, progress: Progress) -> Account:
        queries, dropped = _usable(run, start)
        write_synthetic(folder / "queries.jsonl", queries)
        write_jsonl(folder / "rejects.jsonl", ())
        prompts = Counter(query.prompt for query in queries)
        notes = {
            GIVEN: {"documents_with_other_text": start.n_other_texts},
            "documents": len(sampled.splits),
            "documents_cut": 0,
            "prompts": dict(sorted(prompts.items())),
            "examples": len(sampled.examples),
        }
        return Account(len(queries) + sum(dropped.values()), len(queries), dropped, notes=notes)

    return run.make(
        Generated, work, inputs={"sample": sampled.fingerprint, **_inputs(run, start)}, unit="queries", reads=()
    )


def mined(run: Run, filtered: Filtered) -> Mined | None:
    """The given training examples of the queries that are left; None where there are none without scores."""
    start = run.input.start
    if start is None or "mine" not in taken(run):
        return None

    def work(folder: Path, progress: Progress) -> Account:
        examples, dropped = _of_queries(start.examples, filtered.queries)
        write_nway(folder / "examples.jsonl", examples)
        return Account(len(start.examples), len(examples), dropped, notes={"filled_at_random": 0})

    inputs = {"filter": filtered.fingerprint, GIVEN: start.fingerprint}
    return run.make(Mined, work, inputs=inputs, unit="queries", reads=())


def labeled(run: Run, sampled: Sampled, filtered: Filtered) -> Labeled | None:
    """The given lists with the scores that they came with, on the scale of label.normalize; None where none have."""
    start = run.input.start
    if start is None or "label" not in taken(run):
        return None
    settings = run.settings["label"]

    def work(folder: Path, progress: Progress) -> Account:
        ids, sides = run.base.ids, filtered.sides(sampled)
        queries = {query.query_id: query.as_query() for query in (*sides["train"], *sides["dev"])}
        examples, dropped = _of_queries(start.examples, [*sides["train"], *sides["dev"]])
        lists = [_candidates(example, queries[example.query_id], ids.row) for example in examples]
        sources = [ids.row[example.doc_ids[0]] if example.has_positive else None for example in examples]
        in_dev = {query.query_id for query in sides["dev"]}
        held_out = [
            (of_query, example.doc_ids[0])
            for of_query, example in zip(lists, examples, strict=True)
            if example.query_id in in_dev and example.has_positive
        ]
        ndcg = _ndcg([of_query for of_query, _ in held_out], [doc_id for _, doc_id in held_out], ids)
        teacher = {"name": TEACHER, MAIN: ndcg, "weight": 1.0, "used": True, "reason": "its lists were given"}
        kind = settings["normalize"]
        to_scale, rules = scale(kind, lists, [GIVEN]), Rules(**{name: settings[name] for name in Rules._fields})
        turns, n_false, unused = turns_of(
            [(GIVEN, {GIVEN: 1.0})], lists, [np.arange(len(of_query.rows)) for of_query in lists], sources, (),
            to_scale, {GIVEN: 1.0}, ids, in_dev, rules._replace(windows=0),
        )  # fmt: skip
        (turn,) = turns
        result = Labels.of(
            turns, {}, [teacher], lists, [GIVEN], ids, to_scale,
            normalize=kind, dropped=dropped | unused, false_negatives=n_false,
        )  # fmt: skip
        write_nway(folder / "train.jsonl", turn.train)
        write_nway(folder / "dev.jsonl", turn.dev)
        write_jsonl(folder / "scores.jsonl", result.rated)
        notes = {**result.notes, "chosen_on": ""}
        return Account(len(start.examples), len(turn.train) + len(turn.dev), result.dropped, notes=notes)

    inputs = {
        **{output.name: output.fingerprint for output in (sampled, filtered)},
        DOCUMENTS: run.input.corpus.fingerprint,
        GIVEN: start.fingerprint,
    }
    reads = [name for name in Rules._fields if name != "windows"]
    return run.make(Labeled, work, inputs=inputs, unit="pairs", reads=reads)


def trained(run: Run) -> Trained | None:
    """The given reranker, of which nothing is copied; None where one is trained."""
    model = run.given.reranker
    if model is None:
        return None

    def work(folder: Path, progress: Progress) -> Account:
        write_json(folder / TAUGHT, {})
        return Account(notes={GIVEN: model, "rerankers": [], "weights": _weights(model)})

    return run.make(Trained, work, inputs={RERANKER: _weights(model)}, unit="queries", reads=())


def check(run: Run, *, asks: bool) -> None:
    """Raises DataError and its like for documents that are nowhere, and for files and a reranker that are none,
    without reading the documents.

    asks: see `chain.check`.
    """
    if run.input.kept is None:
        collections.check_name(run.input.source)
    run.input.check()
    if (reranker := run.given.reranker) is None:
        return
    model = named.split(reranker)[1]
    if asks or models.resolve(model).is_local:
        named.check_rates(reranker)
        check_model(model, scorers.kind_of(model))  # which fetches one of a hub


def left_out(run: Run, start: Start) -> dict[str, int]:
    """How many of the given queries may not teach, by reason."""
    return _usable(run, start)[1]


def _inputs(run: Run, start: Start) -> dict[str, str]:
    """What decides which of the given queries there are."""
    return {
        GIVEN: start.fingerprint,
        "judged": fingerprint(sorted(_judged(run))),
        "examples": fingerprint(_shown(run)),
    }


def _usable(run: Run, start: Start) -> tuple[list[SyntheticQuery], dict[str, int]]:
    """The given queries that may teach, and how many in the file may not, by reason."""
    judged, shown = _judged(run), _shown(run)
    corpus, parents = run.input.corpus, run.input.parents
    of_examples = {example.doc_id for example in shown} | {text_key(Doc("", example.document)) for example in shown}
    texts = {normalized(example.query) for example in shown}
    queries: list[SyntheticQuery] = []
    dropped = Counter(start.dropped)
    for query in start.queries:
        text, doc_id = normalized(query.text), query.doc_id
        if text in judged:
            dropped[JUDGED] += 1
        elif shown and (text in texts or {parents.get(doc_id, doc_id), text_key(corpus[doc_id])} & of_examples):
            dropped[SHOWN] += 1
        else:
            queries.append(query)
    return queries, dict(sorted(dropped.items()))


def _judged(run: Run) -> set[str]:
    """The queries that somebody judged and that measure or choose, normalized."""
    labels = run.input.labels
    return {normalized(query.text) for query in (*labels.choosing.queries, *labels.measuring.queries)}


def _shown(run: Run) -> list[PromptExample]:
    """The examples of the task that whoever wrote the queries showed to an LLM, as far as they are named."""
    settings = run.settings["sample"]
    source = settings["examples"]
    return drawn_examples(run.input.pairs(source) if source else (), settings["n_examples"], run.seed)


def _of_queries(examples: Sequence[NWay], queries: Sequence[SyntheticQuery]) -> tuple[list[NWay], dict[str, int]]:
    """The examples of these queries with two documents or more, and how many are none of them."""
    query_ids = {query.query_id for query in queries}
    known = [example for example in examples if example.query_id in query_ids]
    kept = [example for example in known if len(example.doc_ids) > 1]
    dropped = {"query is left out": len(examples) - len(known), "one document": len(known) - len(kept)}
    return kept, {reason: count for reason, count in dropped.items() if count}


def _candidates(example: NWay, query: Query, row_of: Mapping[str, int]) -> Candidates:
    """A list as if retrievers had found it."""
    rows = np.array([row_of[doc_id] for doc_id in example.doc_ids], dtype=np.int64)
    return Candidates(query, rows, {GIVEN: np.array(example.scores, dtype=np.float32)})


def _ndcg(lists: Sequence[Candidates], sources: Sequence[str], ids: Ids) -> float:
    """What the given scores reach on lists of which the source document alone counts as relevant."""
    if not lists:
        return 0.0
    queries = [candidates.query for candidates in lists]
    qrels = [Qrel(query.query_id, doc_id, 1) for query, doc_id in zip(queries, sources, strict=True)]
    return round(mean_ndcg(lists, answers_of(Judged(SYNTHETIC, queries, qrels), ids), GIVEN), 4)


def _weights(model: str) -> str:
    """Changes with a reranker."""
    if named.split(model)[0]:
        return named.fingerprint_of(model)
    return folder_fingerprint(Path(model)) if Path(model).is_dir() else models.weights_fingerprint(model)
