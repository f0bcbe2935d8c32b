"""The value of a good teacher, where no published reranker is available: trains a stand-in, and uses it.

    python benchmarks/stand_in.py train ROWS --out MODEL      ROWS: a folder of {document, query, relevant} JSON Lines
    python benchmarks/stand_in.py worth RUN ... --model MODEL --out FOLDER

The stand-in is a cross-encoder that begins as the embedded encoder. A query's negatives are a passage marked irrelevant
to it, where there is one, and passages that BM25 ranks high for it, by the rules of the stage `mine`. Queries are kept
out to choose the weights on, and others to measure on: how often the relevant passage is first. Killed and repeated,
training goes on from its last checkpoint, and no pair is rated twice.

RUN is a folder whose stages up to `steer` are made; nothing is written to it. On its real queries are measured: the
hybrid, and what it is with the stand-in behind it; the untouched dense retriever, and students of the retrievers'
fusion, alone and with the stand-in beside it, each next to its own teacher.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.digests import fingerprint
from acclimate.base.draw import subset
from acclimate.base.errors import DataError
from acclimate.base.files import read_jsonl, write_json
from acclimate.corpus.formats import synthetic_id
from acclimate.corpus.judged_queries import JudgedQueries
from acclimate.learn.students.training_data import TrainingData
from acclimate.learn.teachers.lists import CandidateFinder
from acclimate.measure.compare import compare
from acclimate.measure.measures import MAIN
from acclimate.records import Doc, NWay, Query, Retriever, ScoredDoc, Scorer, SyntheticQuery
from acclimate.run.retrievers import BASE_MEMBERS
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.search import measuring
from acclimate.search.bm25 import BM25
from acclimate.search.choice import choose_reranker_weight
from acclimate.search.reranked import Reranked
from acclimate.search.scorers.cached import cache_scores, cached_scores
from acclimate.search.scorers.cross_encoder import CrossEncoderScorer
from acclimate.search.scorers.pairs import Lengths
from acclimate.search.students import Students
from acclimate.search.systems import RERANKER, of_documents, system_of
from acclimate.search.value_cache import ValueCache
from acclimate.stages.chain import STAGES
from acclimate.stages.distill import distill
from acclimate.stages.label import label
from acclimate.stages.mine import mine
from acclimate.stages.runs import read_outputs, resume_run
from acclimate.stages.train import train as train_rerankers

# Steps matter more than pairs: few passages for each of many queries. Pairs are truncated to 80 tokens.
TRAINING = ["train.max_queries=2400", "train.n_ways=3", "train.max_tokens=80"]
MEASURED, CHOSEN_ON = 200, 60  # held-out queries, to measure and to choose on
MINED_FROM = 30  # top hits of BM25
DEPTH = 20  # documents that the stand-in reranks
STAND_IN = "stand-in"
FEWEST_WORDS = 3  # of a query
BLANK = "@placeholder"  # in cloze queries, in place of the answer


class Pairs(NamedTuple):
    """Passages, queries, all relevant passages, and passages marked irrelevant, by query id."""

    corpus: dict[str, Doc]
    queries: list[SyntheticQuery]
    answered: list[SyntheticQuery]
    irrelevant: dict[str, set[str]]


def read_pairs(folder: Path) -> Pairs:
    """Read all files; the source of a query with several relevant passages is the first by id."""
    corpus: dict[str, Doc] = {}
    marked: dict[bool, dict[str, set[str]]] = {True: {}, False: {}}
    for path in sorted(folder.glob("*.jsonl")):
        for number, row in read_jsonl(path):
            document, text, relevant = (str(row.get(key, "")).strip() for key in ("document", "query", "relevant"))
            if relevant not in ("Yes", "No"):
                raise DataError(f"relevant is {relevant!r}; expected Yes or No", path=path, line=number)
            if not document:
                continue
            doc = Doc(fingerprint(document)[:16], document)
            corpus[doc.doc_id] = doc
            if len(text.split()) >= FEWEST_WORDS and BLANK not in text:
                marked[relevant == "Yes"].setdefault(text, set()).add(doc.doc_id)
    pairs = Pairs(corpus, [], [], {})
    for text, doc_ids in sorted(marked[True].items()):
        answered = [SyntheticQuery(synthetic_id(doc_id, text), text, doc_id, 0.0) for doc_id in sorted(doc_ids)]
        pairs.queries.append(answered[0])
        pairs.answered.extend(answered)
        pairs.irrelevant[answered[0].query_id] = marked[False].get(text, set()) - doc_ids
    return pairs


def with_negatives(pairs: Pairs, queries: Sequence[SyntheticQuery], n_ways: int) -> list[NWay]:
    """Lists of n_ways passages, the relevant one first, then one marked irrelevant where there is one, then mined."""
    mined = mine(  # passages that BM25 ranks above the source are hard, and seldom relevant
        queries,
        _hits(pairs, queries),
        pairs.corpus,
        written=pairs.answered,
        n_ways=n_ways,
        depth=MINED_FROM,
        max_share=1.0,
    ).examples
    examples = []
    for example in mined:
        positive, *negatives = example.doc_ids
        marked = sorted(pairs.irrelevant[example.query_id])[:1]
        doc_ids = dict.fromkeys([positive, *marked, *negatives])
        examples.append(NWay(example.query_id, tuple(doc_ids)[:n_ways]))
    return examples


def _hits(pairs: Pairs, queries: Sequence[SyntheticQuery]) -> Iterator[ScoredDoc]:
    """BM25's top passages for each query, and the score of its source at any rank."""
    ids = sorted(pairs.corpus)
    row = {doc_id: number for number, doc_id in enumerate(ids)}
    bm25 = BM25.build(pairs.corpus[doc_id].default_text() for doc_id in ids)
    for query in queries:
        scores = bm25.scores(query.text)
        first = (-scores).argsort(kind="stable")[: MINED_FROM + 1]
        for number in dict.fromkeys([*first.tolist(), row[query.doc_id]]):
            yield ScoredDoc(query.query_id, ids[number], float(scores[number]))


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train into the folder `--out`, and measure how often the relevant passage is first (ties count as losses)."""
    settings = resolve(STAGES, {}, [*TRAINING, *arguments.set])["train"]
    pairs = read_pairs(arguments.rows)
    kept_out = subset(pairs.queries, MEASURED + CHOSEN_ON, seed=1)
    taught = subset([query for query in pairs.queries if query not in kept_out], settings["max_queries"], seed=0)
    examples, dev = (with_negatives(pairs, side, settings["n_ways"]) for side in (taught, kept_out[MEASURED:]))
    measured = with_negatives(pairs, kept_out[:MEASURED], arguments.ways)
    texts = {query.query_id: query.text for query in pairs.queries}
    begun = time.process_time()

    def show(done: int, total: int) -> None:
        print(f"{done:,} of {total:,} queries, {time.process_time() - begun:.0f} s of CPU", end="\r", flush=True)

    made = train_rerankers(examples, dev, texts, pairs.corpus, arguments.out, progress=show, **settings)
    notes = {**made.notes, "cpu_seconds": round(time.process_time() - begun)}
    scorer = CrossEncoderScorer(made.path, pairs.corpus, Lengths(settings["max_tokens"]))
    firsts = 0
    for example in measured:
        query = Query(example.query_id, texts[example.query_id])
        positive, *negatives = scorer.score([(query, doc_id) for doc_id in example.doc_ids])
        firsts += positive > max(negatives)
    notes["accuracy"] = {"first": firsts / len(measured), "queries": len(measured), "ways": arguments.ways}
    write_json(arguments.out / "training.json", {**notes, "settings": settings})
    return notes


@dataclass(frozen=True)
class RatedOnce:
    """A scorer that caches scores by pair, as many systems need the same ones."""

    scorer: Scorer
    kept: ValueCache

    @property
    def fingerprint(self) -> str:
        return self.scorer.fingerprint

    def score(self, pairs: Sequence[tuple[Query, str]]) -> list[float]:
        keys = [fingerprint(query.text, doc_id) for query, doc_id in pairs]
        scores = {key: cached_scores(self.kept, key, 1) for key in keys}
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if scores[key] is None}
        for key, score in zip(missing, self.scorer.score([*missing.values()]), strict=True):
            cache_scores(self.kept, key, [score])
            scores[key] = [score]
        return [value[0] for key in keys if (value := scores[key])]


def worth(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the stand-in on a run's collection: as a reranker of its hybrid, and as a teacher."""
    run = resume_run(folder)
    out = arguments.out / folder.resolve().name
    outputs = read_outputs(run, "steer")
    variant = run.variant(out / "run", {})
    model = CrossEncoderScorer(arguments.model, run.input.corpus, Lengths(arguments.max_tokens))
    with variant.workspace.lock(), ValueCache(out / "rated.sqlite", model.fingerprint) as kept:
        bench = Bench(variant, outputs, RatedOnce(model, kept), out, arguments.test_queries, arguments.train_queries)
        return bench.rows()


class Bench:
    """One collection: systems and students measured on the same real queries."""

    def __init__(self, run: Run, outputs: Any, scorer: Scorer, out: Path, n_test: int, n_train: int) -> None:
        self.run, self.outputs, self.scorer, self.out = run, outputs, scorer, out
        test = outputs["steer"].measuring(run, outputs["sample"])
        self.test: JudgedQueries = test.restricted_to(subset(test.queries, n_test, seed=0))
        self.held_out: JudgedQueries = outputs["steer"].choosing(run, outputs["sample"])
        sides = outputs["filter"].sides(outputs["sample"])
        self.dev, self.taught = sides["dev"], subset(sides["train"], n_train, seed=0)
        self.base = run.base

    def rows(self) -> dict[str, Any]:
        """All results, written to `worth.json` after each step."""
        result: dict[str, Any] = {"queries": len(self.test.queries), "taught": len(self.taught)}
        hybrid = system_of(self.base.ids, self.base.members, {})
        before = self.values(hybrid)
        result["hybrid"] = _mean(before)
        chosen = choose_reranker_weight(hybrid, self.scorer, self.held_out, DEPTH).weights[RERANKER]
        for weight in dict.fromkeys([chosen, 0.1, 0.3, 0.5, 1.0]):
            after = self.values(Reranked(hybrid, self.scorer, DEPTH, weight))
            name = f"reranked {weight:g}" + (" (chosen)" if weight == chosen else "")
            result[name] = _against(before, after, "hybrid")
        self._write(result)
        dense = self.values(system_of(self.base.ids, self.base.members, {"dense": 1.0}))
        result["dense"] = _mean(dense)
        alone, weights = self.student({"teachers": BASE_MEMBERS}, "fusion")
        for name, share in {"fusion": 0.0, "chosen": None, "0.3": 0.3, "0.6": 0.6}.items():
            settings: dict[str, Any] = {"teachers": (*BASE_MEMBERS, STAND_IN), "min_gain": -1.0}
            if share == 0:
                student, used = alone, weights
            elif share is None:
                student, used = self.student(settings, name)
            else:
                parts = {member: weight * (1 - share) for member, weight in weights.items()} | {STAND_IN: share}
                given = ",".join(f"{member}={weight:.4f}" for member, weight in parts.items())
                student, used = self.student({**settings, "weights": given}, name)
            first = system_of(self.base.ids, self.base.members, {member: used[member] for member in BASE_MEMBERS})
            teacher = self.values(Reranked(first, self.scorer, DEPTH, used[STAND_IN]) if STAND_IN in used else first)
            result[f"student of {name}"] = {
                "weights": used,
                "teacher": _against(before, teacher, "hybrid"),
                "student": _against(dense, student, "dense"),
                "student against fusion's": _against(alone, student, "fusion"),
            }
            self._write(result)
        return result

    def student(self, settings: Mapping[str, Any], name: str) -> tuple[dict[str, float], dict[str, float]]:
        """(nDCG@10 by query of a dense query-encoder student, its teacher's weights)."""
        base, corpus = self.base, self.run.input.corpus
        with self.run.candidates(self.outputs["index"]) as kept:
            labels = label(
                self.taught, self.dev, self.held_out, CandidateFinder(kept.candidates, base.ids, BASE_MEMBERS),
                {STAND_IN: self.scorer} if STAND_IN in settings["teachers"] else {}, **settings,
            )  # fmt: skip
        texts = {query.query_id: query.text for query in [*self.taught, *self.dev]}
        folder = self.out / name
        data = TrainingData(texts, corpus, base.ids, base.vectors)
        notes = distill([(labels.train, labels.dev)], base.encoder, data, folder, student=("dense-query",))
        members = Students(folder, notes, base.vectors, corpus, self.run.settings["index"]["max_tokens"], 0).members()
        student = system_of(base.ids, {**base.members, **members}, dict.fromkeys(members, 1.0))
        return self.values(student), labels.weights

    def values(self, retriever: Retriever) -> dict[str, float]:
        """nDCG@10 by real query."""
        return measuring.ndcg(of_documents(retriever, self.base.ids), self.test)

    def _write(self, result: Mapping[str, Any]) -> None:
        write_json(self.out / "worth.json", result)


def _mean(values: Mapping[str, float]) -> float:
    return round(measuring.mean(values), 4)


def _against(before: Mapping[str, float], after: Mapping[str, float], baseline: str) -> dict[str, Any]:
    """Mean, and difference with its interval."""
    compared = compare(after, before, system="", baseline=baseline, measure=MAIN)
    return {MAIN: _mean(after), **{key: compared.for_report()[key] for key in ("baseline", "delta", "ci95", "p")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="make the stand-in")
    training.add_argument("rows", type=Path, help="a folder of JSON Lines files with document, query, relevant")
    training.add_argument("--out", type=Path, required=True, help="the model's folder goes there, and training.json")
    training.add_argument("--ways", type=int, default=8, help="passages of a list that is measured on")
    training.add_argument("--set", action="append", default=[], metavar="train.SETTING=VALUE")
    using = commands.add_parser("worth", help="measure what it is worth")
    using.add_argument("runs", nargs="+", type=Path, help="folders of runs, made up to steer")
    using.add_argument("--model", type=Path, required=True)
    using.add_argument("--out", type=Path, required=True, help="what is measured of RUN goes to OUT/RUN")
    using.add_argument("--max-tokens", type=int, default=128, help="of a query and a document together")
    using.add_argument("--test-queries", type=int, default=150)
    using.add_argument("--train-queries", type=int, default=1000, help="synthetic queries that students learn from")
    arguments = parser.parse_args()
    if arguments.command == "train":
        print(train(arguments))
    else:
        for folder in arguments.runs:
            print(folder, worth(folder, arguments))


if __name__ == "__main__":
    main()
