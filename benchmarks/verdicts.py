"""How often verdicts without people's judgments are right: each basis against the verdict by people's judgments.

    python benchmarks/belief.py DATA/scifact DATA/npl ...     (makes the runs: once, hours)
    python benchmarks/verdicts.py belief-run/scifact belief-run/npl ... [--llm MODEL]

Any two systems of a run, but for reranked ones, are a pair; people's judgments of the test queries say which of both is
better, or that they cannot be told apart (p < .05, as a report does). Then each basis says it too:

    people, half    the judgments of half of the queries, against the other half: what chance leaves of a right verdict
    synthetic       held-out queries that an LLM wrote, with the documents near their sources (differences below .025
                    decide nothing)
    agreement       documents that unlike retrievers agree on, for people's queries without labels
    judge e         a simulated judge of 100 of people's queries, wrong about a share e of what is pooled (0: people)
    judge e, n      the same of n queries
    people n        the judgments of n queries alone
    people n + judge  the same, and a judge of 100 others: prediction-powered intervals
    LLM             a judge who gives each grade as often as --llm did, to what people call relevant and to the rest

Simulated judges err at random; a real LLM errs alike for like documents, so they are what one can hope for. A judge's
queries are some of those that people judged, as a log of theirs would be.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations, groupby, islice
from pathlib import Path

import numpy as np
from belief import Bench
from verdict_scores import NONE, Score, Signs, score, table

from acclimate.corpus.formats.trec import read_run
from acclimate.deploy.searchers import Searchers
from acclimate.llm.completions import Completions
from acclimate.llm.grade import ask_grades, read_grade
from acclimate.measure import graded
from acclimate.measure.agreement import RELEVANT, agreement
from acclimate.measure.compare import ALPHA, ERROR_WITHOUT_LABELS, TIE
from acclimate.measure.measures import MAIN, per_query
from acclimate.measure.prediction_powered import powered_mean
from acclimate.records import Qrel, ScoredDoc
from acclimate.search.measuring import run_file
from acclimate.stages.pairs import Pair
from acclimate.stages.steer import JudgedQuery

SEEDS = 3  # draws of queries and of a judge's errors
SAMPLES = 2000  # per paired test
PAIRS = 40  # per collection, graded by the LLM
DOC_TOKENS = 200

Runs = Mapping[str, Sequence[ScoredDoc]]
Values = Mapping[str, Mapping[str, float]]  # system -> query_id -> nDCG@10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="of collections, in belief-run/")
    parser.add_argument("--llm", help="grade some pairs of each collection, and simulate a judge like it")
    parser.add_argument("--out", type=Path, default=Path("verdicts-run"), help="for the LLM's answers")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    collections: list[Collection] = []
    totals: dict[str, Score] = defaultdict(lambda: NONE)
    for collection in map(Collection, arguments.folders):
        collections.append(collection)
        path = arguments.out / f"{collection.name}.json"
        if not path.exists():
            path.write_text(json.dumps({basis: [*score] for basis, score in collection.scores().items()}))
        for basis, counts in json.loads(path.read_text()).items():
            totals[basis] = totals[basis].plus(Score(*counts))
        print(collection.name, f"{len(collection.pairs)} pairs, {len(collection.query_ids)} queries", flush=True)
    print(table(totals), flush=True)
    if arguments.llm:
        given = graded_by(arguments.llm, collections, arguments.out)
        for collection in collections:
            for seed in range(SEEDS):
                signs = collection.signs(collection.like(given, seed), collection.order(seed)[:100])
                totals["LLM"] = totals["LLM"].plus(score(signs, collection.reference))
        print(table({"LLM": totals["LLM"]}))


class Collection:
    """A finished run, its systems' results, and people's judgments."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.bench = Bench(folder)
        bench = self.bench
        systems = bench.opened[1]["evaluate"].measured["systems"]
        names = [row["name"] for row in systems if row["kind"] != "reranked"]  # reranking takes minutes
        self.query_ids = [query.query_id for query in bench.test]
        grades = bench.run.input.labels.measuring.grades
        self.people = {
            (query_id, doc_id): grade for query_id in self.query_ids for doc_id, grade in grades[query_id].items()
        }
        asked_ids, evaluated = {*self.query_ids}, bench.opened[1]["evaluate"].folder
        self.runs: Runs = {
            name: [
                hit
                for query_id, hits in groupby(read_run(run_file(evaluated, name)), key=lambda hit: hit.query_id)
                if query_id in asked_ids
                for hit in islice(hits, 10)
            ]
            for name in names
        }
        self.pool = graded.pooled(self.runs.values(), 10)
        self.pairs = list(combinations(names, 2))
        self.by_people = self.values(self.qrels(self.people))
        self.reference = self.signs(self.by_people, self.query_ids)

    def qrels(self, grades: Mapping[tuple[str, str], int]) -> list[Qrel]:
        return [Qrel(query_id, doc_id, grade) for (query_id, doc_id), grade in sorted(grades.items())]

    def values(self, qrels: Sequence[Qrel], runs: Runs | None = None) -> Values:
        return {name: per_query(run, qrels, [MAIN])[MAIN] for name, run in (runs or self.runs).items()}

    @cached_property
    def held_out(self) -> Runs:
        """Results of each system for the synthetic queries."""
        run, outputs = self.bench.opened
        searchers, queries = Searchers(run, outputs), [query.as_query() for query in self.bench.held_out]
        return {name: searchers.named(name).search(queries, 10) for name in self.runs}

    def order(self, seed: int) -> list[str]:
        """Real queries in random order."""
        return random.Random(seed).sample(self.query_ids, len(self.query_ids))

    def signs(self, values: Values, query_ids: Sequence[str], least: float = 0.0) -> Signs:
        """The sign of each pair by the reports' paired randomization test (`measure.compare`), with fewer samples."""
        table = np.array([[values[name][query_id] for query_id in query_ids] for name in self.runs])
        place = {name: row for row, name in enumerate(self.runs)}
        ours, theirs = (np.array([place[pair[side]] for pair in self.pairs]) for side in (0, 1))
        differences = table[ours] - table[theirs]
        flips = np.random.default_rng(0).choice((-1.0, 1.0), size=(SAMPLES, len(query_ids)))
        total = differences.sum(axis=1)
        as_far = np.abs(differences @ flips.T) >= np.abs(total)[:, None] - TIE
        p = (as_far.sum(axis=1) + 1) / (SAMPLES + 1)
        is_seen = (p < ALPHA) & (np.abs(total) > TIE) & (np.abs(total) / len(query_ids) >= least)
        return dict(zip(self.pairs, (np.sign(total) * is_seen).astype(int).tolist(), strict=True))

    def scores(self) -> dict[str, Score]:
        """Basis -> agreement of its verdicts with people's, as counts over several draws."""
        scores: dict[str, Score] = defaultdict(lambda: NONE)

        def add(basis: str, signs: Signs, reference: Signs | None = None) -> None:
            scores[basis] = scores[basis].plus(score(signs, reference or self.reference))

        plain = self.bench.steered([])
        for basis, least in (("synthetic", ERROR_WITHOUT_LABELS), ("synthetic, any difference", 0.0)):
            add(basis, self.signs(self.of(plain.measuring, self.held_out), ids_of(plain.measuring), least))
        agreed = [query for query in self.bench.steered(self.bench.test).choosing if query.group == "log"]
        add("agreement", self.signs(self.of(agreed), ids_of(agreed)))
        for seed in range(SEEDS):
            order = self.order(seed)
            halves = order[: len(order) // 2], order[len(order) // 2 :]
            add("people, half", *(self.signs(self.by_people, half) for half in halves))
            for n in (20, 50):
                add(f"people {n}", self.signs(self.by_people, order[:n]))
            judges = {error: self.simulated(error, seed) for error in (0.0, 0.1, 0.2, 0.3)}
            for error, values in judges.items():
                add(f"judge {error}", self.signs(values, order[:100]))
            for n in (20, 50):
                add(f"judge 0.1, {n}", self.signs(judges[0.1], order[:n]))
            for error in (0.1, 0.3):
                add(f"people 20 + judge {error}", self.powered(judges[error], order[:20], order[20:120]))
        return dict(scores)

    def of(self, judged: Sequence[JudgedQuery], runs: Runs | None = None) -> Values:
        grades = {(query.query.query_id, doc_id): grade for query in judged for doc_id, grade in query.grades.items()}
        return self.values(self.qrels(grades), runs)

    def simulated(self, error: float, seed: int) -> Values:
        """Values by a judge who is wrong about a share of the pool."""
        chance = random.Random(f"{seed} {error}")

        def said(query_id: str, doc_id: str) -> int:
            is_relevant = self.people.get((query_id, doc_id), 0) > 0
            return RELEVANT * (is_relevant != (chance.random() < error))

        return self.judged({(query_id, doc_id): said(query_id, doc_id) for query_id, doc_id in self.pooled})

    def like(self, given: Mapping[bool, Sequence[float]], seed: int) -> Values:
        """Values by a judge who gives each grade (or none) as often as an LLM did."""
        chance = random.Random(seed)
        grades = {pair: chance.choice(given[self.people.get(pair, 0) > 0]) for pair in self.pooled}
        return self.judged({pair: int(grade) for pair, grade in grades.items() if grade == grade})

    @property
    def pooled(self) -> list[tuple[str, str]]:
        return [(query_id, doc_id) for query_id, doc_ids in sorted(self.pool.items()) for doc_id in doc_ids]

    def judged(self, grades: Mapping[tuple[str, str], int]) -> Values:
        """Values by a judge's grades; a query without relevant documents counts 0."""
        qrels = self.qrels(grades)
        zeros = dict.fromkeys(self.query_ids, 0.0)
        return {name: zeros | graded.values_of(run, qrels, [MAIN])[MAIN] for name, run in self.runs.items()}

    def powered(self, judge: Values, few: Sequence[str], rest: Sequence[str]) -> Signs:
        """Signs of pairs whose prediction-powered interval of the difference excludes 0."""
        signs: dict[tuple[str, str], int] = {}
        for ours, theirs in self.pairs:

            def differences(values: Values, query_ids: Sequence[str], ours=ours, theirs=theirs) -> list[float]:
                return [values[ours][query_id] - values[theirs][query_id] for query_id in query_ids]

            mean = powered_mean(differences(self.by_people, few), differences(judge, few), differences(judge, rest))
            signs[ours, theirs] = int(mean.ci95[0] > 0) - int(mean.ci95[1] < 0)
        return signs

    def some_pairs(self) -> list[Pair]:
        """Pairs of the pool for an LLM to grade, half of them relevant by people's judgments."""
        texts = {query.query_id: query.text for query in self.bench.test}
        chance = random.Random(0)
        relevant = [pair for pair in self.pooled if self.people.get(pair, 0) > 0]
        others = [pair for pair in self.pooled if self.people.get(pair, 0) <= 0]
        drawn = [pair for some in (relevant, others) for pair in chance.sample(some, min(PAIRS // 2, len(some)))]
        return [Pair(query_id, texts[query_id], doc_id) for query_id, doc_id in drawn]


def ids_of(judged: Sequence[JudgedQuery]) -> list[str]:
    return [query.query.query_id for query in judged]


def graded_by(llm: str, collections: Sequence[Collection], out: Path) -> dict[bool, list[float]]:
    """The LLM's grades of pairs by whether people judge them relevant, over all collections."""
    given: dict[bool, list[float]] = {True: [], False: []}
    by_people: dict[tuple[str, str], int] = {}
    by_llm: dict[tuple[str, str], int] = {}
    with Completions(out / "completions.sqlite", "judge") as completions:
        for collection in collections:
            pairs, documents = collection.some_pairs(), collection.bench.run.input.documents
            texts = [documents[pair.doc_id].default_text() for pair in pairs]
            answers, _ = ask_grades(pairs, texts, completions, llm, "relevance", max_doc_tokens=DOC_TOKENS)
            for pair, answer in zip(pairs, answers, strict=True):
                grade = read_grade(answer)
                is_relevant = collection.people.get((pair.query_id, pair.doc_id), 0) > 0
                given[is_relevant].append(grade)
                if grade == grade:
                    key = f"{collection.name} {pair.query_id}", pair.doc_id
                    by_people[key], by_llm[key] = int(is_relevant), int(grade)
            print(collection.name, "graded", flush=True)
    agreed = agreement(by_people, by_llm)
    print(
        llm,
        json.dumps(agreed and agreed.for_report()),
        "unreadable",
        sum(len(of) for of in given.values()) - len(by_llm),
    )
    return given


if __name__ == "__main__":
    main()
