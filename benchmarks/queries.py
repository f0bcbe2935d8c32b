"""The tables of docs/results.md on synthetic queries: prompts, filters, and what a student learns from them.

    python benchmarks/queries.py                              pydocs, measured on its dev queries
    python benchmarks/queries.py pydocs DATA/scifact          and BEIR folders with dev or train judgments of their own
    python benchmarks/queries.py ... --write                  put the tables into docs/results.md

Each prompt writes one query for each of the same documents; each set of queries, filtered, teaches a dense student
(query encoder only, the default distillation) for which equal weights of BM25, dense and late interaction are the
teacher. It is measured on real queries of a dev split, or of train where there is none; test queries are never read.
Everything is kept under bench-run/, so an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from results_page import table, write_section

from acclimate.base.digests import fingerprint
from acclimate.base.errors import SettingError
from acclimate.base.files import read_json, write_json
from acclimate.base.words import normalized
from acclimate.corpus.language import stop_words
from acclimate.learn.students.training_data import TrainingData
from acclimate.llm import Completions, load
from acclimate.llm.prompts import Material
from acclimate.records import NWay, PromptExample, Query, SyntheticQuery
from acclimate.report.queries import statistics
from acclimate.run.recipes import load_recipe
from acclimate.run.retrievers import BASE_MEMBERS
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.run.workspace import Workspace
from acclimate.search.candidates import fuse, min_max
from acclimate.search.encoder import Encoder
from acclimate.search.members import DenseMember
from acclimate.search.ranks import source_ranks
from acclimate.search.system import System
from acclimate.search.weights import mean_ndcg
from acclimate.stages.chain import STAGES, adapt
from acclimate.stages.distill import distill
from acclimate.stages.filter import DEFAULT, filter_queries
from acclimate.stages.generate import generate
from acclimate.stages.raters import RunRaters
from acclimate.stages.sample import sample

ROOT = Path(__file__).parents[1]
MIX = ("question", "keyword", "claim")
STYLES: dict[str, tuple[str, ...]] = {
    "**question, keyword, claim** (default)": MIX,
    **{name: (name,) for name in ("question", "keyword", "claim", "title", "conversational", "long")},
    "all six types": ("question", "keyword", "claim", "title", "conversational", "long"),
    **{name: (name,) for name in ("inpars", "inpars-gbq", "promptagator", "instruct")},
    **{name: (name,) for name in ("zero-shot-question", "zero-shot-query")},
}
FILTERS: dict[str, dict[str, Any]] = {
    "none": {"filters": ()},
    "duplicates": {"filters": ("duplicates",)},
    "surest half (InPars v1)": {"filters": ("logprob",), "keep_top_k": 0.5},
    "not the least sure quarter": {"filters": ("percentile",)},
    "round trip at 1": {"filters": ("round-trip",), "round_trip_k": 1},
    "round trip at 5": {"filters": ("round-trip",), "round_trip_k": 5},
    "**duplicates, round trip at 20** (default)": {"filters": DEFAULT},
    "round trip at 1, trained on the queries (Promptagator)": {
        "filters": ("round-trip",),
        "retriever": "trained",
        "round_trip_k": 1,
    },
    "round trip at 20 and teacher agrees (CADET)": {"filters": ("round-trip", "teacher")},
    "graded 2 or better by the LLM": {"filters": ("judge",)},
}


class Row(NamedTuple):
    """Results for a set of queries."""

    name: str
    written: int  # answers that are queries
    kept: int  # after the filters
    found_first: float  # share of the queries whose source document the half-and-half hybrid ranks first
    overlap: float  # mean share of a query's content words that its document has
    ndcg: float  # nDCG@10 of the student on real queries


class Bench:
    """One collection, indexed, with its sample of documents."""

    def __init__(self, corpus: str, out: Path, n_docs: int) -> None:
        self.name = Path(corpus).name
        self.n_docs = n_docs
        settings = resolve(STAGES, load_recipe("quick"), [f"sample.n_docs={n_docs}"])
        self.run = Run(Workspace(out / f"queries-{self.name}"), settings, 0, corpus)
        self.index = adapt(self.run, until="index")["index"]
        self.split, self.test_queries, grades = self._real()
        self.pairs = self._pairs()
        shown = self._shown()
        taken = {normalized(example.query) for example in shown}
        self.test_queries = [query for query in self.test_queries if normalized(query.text) not in taken][:300]
        self.answers = [grades[query.query_id] for query in self.test_queries]
        drawn = sample(self.run.input.corpus, 0.0, lambda _: self.pairs, seed=0, n_docs=n_docs, examples="pairs")
        self.sides, self.material = drawn.splits, Material(drawn.examples, (), self.name)
        self.llm = load(settings["generate"]["llm"])

    def _real(self) -> tuple[str, list[Query], dict[str, dict[int, int]]]:
        """(split to measure on, its queries, their grades by row of the index)."""
        qrels = self.run.input.collection.qrels
        split = next((split for split in ("dev", "train") if qrels.get(split)), "")
        if not split:
            raise SettingError(f"{self.name} has neither dev nor train judgments, and test ones are not for choosing")
        grades: dict[str, dict[int, int]] = {}
        for qrel in qrels[split]:
            if qrel.relevance > 0:
                grades.setdefault(qrel.query_id, {})[self.run.base.ids.row[qrel.doc_id]] = qrel.relevance
        return split, [query for query in self.run.input.collection.queries if query.query_id in grades], grades

    def _pairs(self) -> list[PromptExample]:
        texts = {query.query_id: query.text for query in self.run.input.collection.queries}
        return [
            PromptExample(
                qrel.query_id, qrel.doc_id, texts[qrel.query_id], self.run.input.corpus[qrel.doc_id].default_text()
            )
            for qrel in self.run.input.collection.qrels[self.split]
            if qrel.relevance > 0
        ]

    def _shown(self) -> Sequence[PromptExample]:
        return sample(self.run.input.corpus, 0.0, lambda _: self.pairs, seed=0, n_docs=1, examples="pairs").examples

    def queries(self, prompt: tuple[str, ...]) -> list[SyntheticQuery]:
        """The queries that the LLM writes for the documents with these prompts."""
        settings = self.run.settings["generate"]
        lengths = {key: settings[key] for key in ("max_doc_tokens", "max_new_tokens")}
        docs = [self.run.input.corpus[doc_id] for doc_id in self.sides]
        with Completions(self.run.workspace.folder / "completions.sqlite", "generate") as kept:
            return generate(docs, kept, self.material, llm=self.llm, prompt=prompt, **lengths).queries

    def row(self, name: str, queries: list[SyntheticQuery], filters: Mapping[str, Any]) -> Row:
        """Filter the queries, and train a student on the rest."""
        key = fingerprint(name, [query.query_id for query in queries], sorted(filters.items()), self.n_docs)
        path = self.run.workspace.folder / "rows" / f"{key}.json"
        if path.exists():
            return Row(**read_json(path))
        settings = {**self.run.settings["filter"], **filters}
        if isinstance(settings["keep_top_k"], float):
            settings["keep_top_k"] = max(1, round(settings["keep_top_k"] * len(queries)))
        held_out = {doc_id for doc_id, side in self.sides.items() if side != "train"}
        raters = RunRaters(
            self.run, self.index, held_out, self.run.workspace.folder / "filter", lambda done, total: None
        )
        kept = filter_queries(queries, raters, **settings).queries
        half = System(self.run.base.ids, self.run.base.members, ["bm25", "dense"], {"bm25": 0.5, "dense": 0.5})
        ranks = source_ranks(queries, half, depth=100)
        overlaps = [
            statistics.overlap(query.text, self.run.input.corpus[query.doc_id].default_text(), stop_words("en"))
            for query in queries
        ]
        row = Row(
            name,
            len(queries),
            len(kept),
            round(sum(rank == 1 for rank in ranks.values()) / max(1, len(queries)), 4),
            round(statistics.mean([share for share in overlaps if share is not None]) or 0.0, 4),
            round(self.learned(kept, held_out), 4),
        )
        write_json(path, row._asdict())
        return row

    def learned(self, queries: Sequence[SyntheticQuery], held_out: set[str]) -> float:
        """nDCG@10 on real queries of a dense student trained on these queries."""
        examples = [example for query in queries if (example := self._labelled(query)) is not None]
        data = TrainingData(
            {query.query_id: query.text for query in queries},
            self.run.input.corpus,
            self.run.base.ids,
            self.run.base.vectors,
        )
        train = [example for example in examples if example.doc_ids[0] not in held_out]
        dev = [example for example in examples if example.doc_ids[0] in held_out]
        if not train or not dev:  # the filter may have dropped everything
            return self.measured(DenseMember(self.run.base.vectors, self.run.base.encoder))
        settings = {**self.run.settings["distill"], "student": ("dense-query",)}
        with tempfile.TemporaryDirectory() as folder:
            distill([(train, dev)], self.run.base.encoder, data, Path(folder), **settings)
            encoder = Encoder.load_student(Path(folder) / "dense", max_tokens=256)
            return self.measured(DenseMember(self.run.base.vectors, encoder))

    def measured(self, member: DenseMember) -> float:
        system = System(self.run.base.ids, {"dense": member}, ["dense"], {"dense": 1.0})
        return mean_ndcg(list(system.candidates(self.test_queries)), self.answers, "dense")

    def _labelled(self, query: SyntheticQuery) -> NWay | None:
        with self.run.candidates(self.index) as kept:
            (candidates,) = kept.candidates([query.as_query()])
        scores = min_max(fuse(candidates, dict.fromkeys(BASE_MEMBERS, 1 / len(BASE_MEMBERS))))
        source = self.run.base.ids.row[query.doc_id]
        if source not in candidates.rows:
            return None
        order = sorted(
            self.run.base.ids.order(scores, candidates.rows)[:100], key=lambda place: candidates.rows[place] != source
        )
        if candidates.rows[order[0]] != source:
            return None
        ids = tuple(self.run.base.ids.doc_ids[candidates.rows[place]] for place in order)
        return NWay(query.query_id, ids, tuple(float(scores[place]) for place in order))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="*", default=["pydocs"])
    parser.add_argument("--docs", type=int, default=300, help="documents that queries are written for")
    parser.add_argument("--prompts", help="names, separated by commas; the mixes come along")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-run")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/results.md")
    arguments = parser.parse_args()
    parts: list[str] = []
    for corpus in arguments.collections:
        bench = Bench(corpus, arguments.out, arguments.docs)
        base = bench.measured(bench.run.base.members["dense"])  # type: ignore[arg-type]
        wanted = arguments.prompts.split(",") if arguments.prompts else STYLES
        styles = {name: prompt for name, prompt in STYLES.items() if name in wanted or len(prompt) > 1}
        rows = [bench.row(name, bench.queries(prompt), {"filters": DEFAULT}) for name, prompt in styles.items()]
        filtered = [bench.row(name, bench.queries(MIX), filters) for name, filters in FILTERS.items()]
        asked = f"{len(bench.test_queries)} {bench.split} queries"
        measured_on = f"{bench.name} ({arguments.docs} documents; {asked}, base {_number(base)})"
        parts += [
            f"**Prompts, {measured_on}**",
            _table("prompt", rows, base),
            f"**Filters, {measured_on}**",
            _table("filter", filtered, base),
        ]
        print("\n\n".join(parts[-4:]), flush=True)
    if arguments.write:
        write_section("queries", "\n\n".join(parts))


def _table(what: str, rows: Sequence[Row], base: float) -> str:
    return table(
        [what, "queries", "kept", "source first", "overlap", "student, nDCG@10", "gain"],
        [
            [
                row.name,
                f"{row.written}",
                f"{row.kept} ({row.kept / max(1, row.written):.0%})",
                f"{row.found_first:.0%}",
                f"{row.overlap:.0%}",
                _number(row.ndcg),
                f"{row.ndcg - base:+.3f}",
            ]
            for row in rows
        ],
    )


def _number(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


if __name__ == "__main__":
    main()
