"""Comparison of acclimate with the InPars toolkit's own code on the same weights and documents: equality and cost.

    python benchmarks/against_inpars.py TOOLKIT DATA/scifact            8 documents, 10 queries to rerank
    python benchmarks/against_inpars.py TOOLKIT DATA/cranfield --docs 32 --toolkit-python PATH

TOOLKIT is a checkout of github.com/zetaalphavector/InPars; PATH a Python with torch, transformers, pytrec_eval, ftfy
and pandas before 3. The toolkit's modules run as they are, in processes of their own; `inpars_stand_ins.py` says what
stands in for its downloads. Both sides compute in float32 and greedily, and read the first documents of the collection
in file order. Without --reranker the reranker is a small T5 with random weights, made from its configuration: what is
compared is how a T5 is asked, not how good one is. BM25's hits are ours for both, as the toolkit's search needs Java.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inpars_commands import ACCLIMATE, SAMPLE
from inpars_loss import loss_of_a_batch
from inpars_materials import plain_folder, random_encoder, random_t5
from inpars_table import Row, table
from watched import OUTPUT, Usage, killed_after, used

import acclimate
from acclimate.base.files import read_jsonl, write_json
from acclimate.corpus import collections
from acclimate.corpus.formats import read_run, write_run
from acclimate.corpus.formats.trec import write_qrels
from acclimate.records import Query, ScoredDoc
from acclimate.search.bm25 import BM25

HERE = Path(__file__).parent
HITS, SAMPLES = 1000, 100  # BM25 results, and negatives sampled from them, as in the toolkit
MEASURES = {
    "recip_rank": "RR",
    "recall_1000": "R@1000",
    "ndcg_cut_10": "nDCG@10",
    "ndcg_cut_20": "nDCG@20",
    "map": "AP",
    "P_10": "P@10",
    "judged_10": "Judged@10",
}  # as the toolkit names them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("toolkit", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--docs", type=int, default=8, help="documents that queries are written for (default 8)")
    parser.add_argument("--queries", type=int, default=10, help="queries whose hits are reranked (default 10)")
    parser.add_argument("--depth", type=int, default=20, help="hits that are reranked (default 20)")
    parser.add_argument("--llm", default="embedded:smollm2-135m-instruct")
    parser.add_argument("--reranker", help="a monoT5; by default one with random weights is made")
    parser.add_argument("--toolkit-python", default=sys.executable, metavar="PATH", help="a Python for the toolkit")
    parser.add_argument("--out", type=Path, default=HERE.parent / "bench-run" / "inpars")
    arguments = parser.parse_args()

    comparison = Comparison(arguments)
    rows = []
    for stage in (
        comparison.generate,
        comparison.filter,
        comparison.triples,
        comparison.rerank,
        comparison.train,
        comparison.evaluate,
    ):
        for row in stage():
            rows.append(row)
            print(f"{row.stage}: {row.finding}", flush=True)
            if row.toolkit and row.ours:
                print(f"    acclimate {row.ours.against(row.toolkit)}", flush=True)
    print("\n".join(table(rows, arguments.collection.name)))


class Comparison:
    """Runs each stage of the toolkit and ours on the output of the stage before. All files are in `out`."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.out = (arguments.out / arguments.collection.name).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.folder = arguments.collection.resolve()
        self.run = self.out / "run"
        self.written = self.out / "toolkit-queries.jsonl"
        self.collection = collections.load(self.folder, self.out / "corpus")
        self.llm = str(plain_folder(arguments.llm, self.out / "llm"))
        random_encoder(self.out / "encoder")
        self.reranker = arguments.reranker or str(random_t5(self.collection, self.out / "t5"))

    def toolkit(self, module: str, *options: object, documents: int | None = None) -> Usage:
        """Run a module of the toolkit. documents: number of documents it sees; None: all."""
        return used(self.toolkit_command(module, *options, documents=documents), self.out)

    def toolkit_command(self, module: str, *options: object, documents: int | None) -> list[str]:
        """The command that runs a module of the toolkit with stand-ins for its downloads."""
        settings, script = self.out / "stand-ins.json", HERE / "inpars_stand_ins.py"
        standing = {"collection": str(self.folder), "documents": documents, "qrels": str(self.out / "qrels.trec")}
        write_json(settings, standing)
        command = [self.arguments.toolkit_python, script, self.arguments.toolkit.resolve(), settings, module]
        return [str(part) for part in (*command, *options)]

    def said(self) -> str:
        """What the last command printed."""
        return (self.out / OUTPUT).read_text(encoding="utf-8")

    def ours(self, *arguments: object) -> Usage:
        """Run our command."""
        return used([*ACCLIMATE, *map(str, arguments)], self.out)

    def generate(self) -> Iterator[Row]:
        docs, template = self.arguments.docs, self.arguments.toolkit.resolve() / "inpars/prompts/templates.yaml"
        options = ("--dataset", "here", "--base_model", self.llm, "--prompt", "inpars", "--output", self.written)
        toolkit = self.toolkit("generate", *options, documents=docs)
        used([sys.executable, "-c", SAMPLE, *map(str, (self.run, self.folder, self.out / "encoder", docs))], self.out)
        prompt = ("--prompt", f"{template}#inpars", "--cut", "tokens", "--cleaning", "inpars")
        asked = ("--llm", self.llm, *prompt, "--max-doc-tokens", 256, "--max-new-tokens", 64)
        ours = self.ours("generate", self.run, *asked)

        theirs = {row["doc_id"]: row for row in self.toolkit_queries()}
        queries = {row["doc_id"]: row for row in self.queries()}
        prompts = self.prompts(f"{template}#inpars", theirs)
        same_prompts = sum(prompts[doc_id] == row["prompt_text"] for doc_id, row in theirs.items())
        same = [doc_id for doc_id, row in theirs.items() if queries.get(doc_id, {}).get("query") == row["query"]]
        pairs = [(queries[doc_id]["log_probs"], theirs[doc_id]["log_probs"]) for doc_id in same]
        complete = [(ours, toolkit) for ours, toolkit in pairs if len(ours) == len(toolkit)]
        furthest = max(
            (abs(a - b) for ours_of, theirs_of in complete for a, b in zip(ours_of, theirs_of, strict=True)),
            default=math.nan,
        )
        yield Row(
            "generate",
            f"{same_prompts} of {len(theirs)} prompts byte-identical, {len(same)} queries the same, {len(complete)} of "
            f"them of as many tokens, whose log-probabilities differ by {furthest:.1e} at most",
            toolkit,
            ours,
        )
        yield self.killed(options, toolkit.seconds, [*map(str, asked)], ours.seconds)

    def killed(self, theirs: Sequence[object], seconds: float, mine: Sequence[str], our_seconds: float) -> Row:
        """How much of each side's work remains if it is killed after three quarters of its full time."""
        lost, again = self.out / "killed.jsonl", self.out / "killed"
        lost.unlink(missing_ok=True)
        options = [lost if option == self.written else option for option in theirs]
        killed_after(
            self.toolkit_command("generate", *options, documents=self.arguments.docs), self.out, seconds * 3 / 4
        )
        shutil.rmtree(again, ignore_errors=True)
        shutil.copytree(self.run, again, ignore=shutil.ignore_patterns("generate", "completions*"))
        killed_after([*ACCLIMATE, "generate", str(again), *mine], self.out, our_seconds * 3 / 4)
        kept = len(acclimate.Answers(again)) if (again / "completions.sqlite").exists() else 0
        left = f"has {len(list(read_jsonl(lost)))} queries" if lost.exists() else "is not there"
        return Row("a kill", f"the toolkit's file {left}; acclimate keeps {kept} of {self.arguments.docs} answers")

    def toolkit_queries(self) -> list[dict[str, Any]]:
        return [row for _, row in read_jsonl(self.written)]

    def prompts(self, name: str, theirs: Mapping[str, Any]) -> dict[str, str]:
        """Our prompt for each document."""
        from acclimate.llm.decoders.tokenizer import Tokenizer

        tokenizer, prompt = Tokenizer(self.llm), acclimate.prompt(name)
        texts = {doc_id: self.collection.corpus[doc_id].default_text() for doc_id in theirs}
        return {doc_id: prompt.render(tokenizer.cut_tokens(text, 256)) for doc_id, text in texts.items()}

    def filter(self) -> Iterator[Row]:
        written = {row["doc_id"]: row["query"] for row in self.toolkit_queries()}
        shared = {
            row["query_id"]: row["doc_id"] for row in self.queries() if written.get(row["doc_id"]) == row["query"]
        }
        for strategy, score in (("scores", "logprob"), ("reranker", "reranker")):
            kept = self.out / f"toolkit-{strategy}.jsonl"
            options = ("--input", self.written, "--dataset", "here", "--output", kept, "--filter_strategy", strategy)
            toolkit = self.toolkit("filter", *options, "--model_name_or_path", self.reranker)
            ours = self.ours("filter", self.run, "--filters", f"length,{score}", "--reranker", self.reranker)
            rows = [row for _, row in read_jsonl(self.run / "filter" / "scores.jsonl") if row["query_id"] in shared]
            rows = sorted((row for row in rows if row["reason"] != "length"), key=lambda row: -row[score])
            order = [shared[row["query_id"]] for row in rows]
            theirs = [row["doc_id"] for _, row in read_jsonl(kept) if row["doc_id"] in shared.values()]
            orders = "the same order" if order == theirs else f"another order: {order} against {theirs}"
            yield Row(f"filter by {strategy}", f"{len(theirs)} queries in {orders}", toolkit, ours)

    def queries(self) -> list[dict[str, Any]]:
        """Our queries in the run."""
        return [row for _, row in read_jsonl(self.run / "generate" / "queries.jsonl")]

    def triples(self) -> Iterator[Row]:
        texts = [" ".join(row["query"].split()) for row in self.toolkit_queries()]
        hits = self.bm25([Query(str(place), text) for place, text in enumerate(texts)])
        write_run(self.out / "tmp-run-here.txt", hits)  # where the toolkit's own search would write it
        candidates: dict[str, set[str]] = {}
        for hit in hits:
            candidates.setdefault(texts[int(hit.query_id)], set()).add(hit.doc_id)
        triples = self.out / "triples.tsv"
        toolkit = self.toolkit("generate_triples", "--input", self.written, "--dataset", "here", "--output", triples)
        ways = ("--retriever", "bm25", "--depth", HITS, "--n-ways", SAMPLES + 1, "--max-share", 1)
        ours = self.ours("mine", self.run, *ways, "--sampling", "random")

        ids = {_flat(doc.default_text()): doc.doc_id for doc in self.collection.corpus.values()}
        with triples.open(encoding="utf-8", newline="") as file:
            rows = [[_flat(text) for text in row] for row in csv.reader(file, delimiter="\t")]
        theirs = [(query, ids.get(positive), ids.get(negative)) for query, positive, negative in rows]
        names = {row["query_id"]: _flat(row["query"]) for row in self.queries()}
        mined = [row for _, row in read_jsonl(self.run / "mine" / "examples.jsonl")]
        negatives = [
            (names[row["query_id"]], row["doc_ids"][0], doc_id) for row in mined for doc_id in row["doc_ids"][1:]
        ]

        def described(triples: Sequence[tuple[str, str | None, str | None]]) -> str:
            inside = sum(negative in candidates.get(query, ()) for query, _, negative in triples)
            same = sum(positive == negative for _, positive, negative in triples)
            return f"{len(triples):,} negatives, {inside:,} of them among BM25's {HITS:,}, {same} the positive itself"

        yield Row("triples", f"toolkit: {described(theirs)}; acclimate: {described(negatives)}", toolkit, ours)

    def bm25(self, queries: Sequence[Query], depth: int = HITS) -> list[ScoredDoc]:
        """The hits of our BM25, which both sides use."""
        index, ids = BM25.open(self.run / "index" / "bm25"), list(self.collection.corpus)
        hits: list[ScoredDoc] = []
        for query in queries:
            scores = index.scores(query.text).tolist()
            best = sorted((-score, ids[place]) for place, score in enumerate(scores) if score > 0)[:depth]
            hits += [ScoredDoc(query.query_id, doc_id, -score) for score, doc_id in best]
        return hits

    def rerank(self) -> Iterator[Row]:
        judged = {qrel.query_id for qrel in self.collection.qrels["test"] if qrel.relevance > 0}
        queries = [query for query in self.collection.queries if query.query_id in judged]
        write_run(self.out / "bm25.trec", self.bm25(queries))
        first, reranked, mine = (self.out / f"{name}.trec" for name in ("first", "toolkit", "acclimate"))
        write_run(first, self.bm25(queries[: self.arguments.queries], self.arguments.depth))
        options = ("--model", self.reranker, "--dataset", "here", "--input_run", first, "--output_run", reranked)
        toolkit = self.toolkit("rerank", *options)
        ours = self.ours("rerank", first, self.reranker, "--corpus", self.folder, "--max-tokens", 512, "--out", mine)
        theirs = {(hit.query_id, hit.doc_id): hit.score for hit in read_run(reranked)}
        scores = {(hit.query_id, hit.doc_id): 1 / (1 + math.exp(-hit.score)) for hit in read_run(mine)}
        differences = {pair: abs(scores[pair] - score) for pair, score in theirs.items()}
        short = self.shorter_than(512, scores)
        spread = f"{min(theirs.values()):.3f} to {max(theirs.values()):.3f}"
        finding = f"scores of {len(short)} pairs ({spread}) differ by {max(differences[pair] for pair in short):.1e}"
        if longer := differences.keys() - short:
            most = max(differences[pair] for pair in longer)
            finding += f"; of {len(longer)} longer ones, of whose prompt the toolkit cuts the end, by {most:.1e}"
        yield Row("rerank", f"{finding} at most", toolkit, ours)

    def shorter_than(self, tokens: int, pairs: Mapping[tuple[str, str], float]) -> set[tuple[str, str]]:
        """The pairs whose prompts are not truncated."""
        from acclimate.llm.decoders.tokenizer import Tokenizer
        from acclimate.search.scorers.template import TEMPLATES

        tokenizer = Tokenizer(self.reranker).tokenizer
        texts = {query.query_id: query.text for query in self.collection.queries}
        corpus = self.collection.corpus
        fill = TEMPLATES["monot5"].fill
        return {
            (query_id, doc_id)
            for query_id, doc_id in pairs
            if len(tokenizer(fill(texts[query_id], corpus[doc_id].default_text()))["input_ids"]) <= tokens
        }

    def train(self) -> Iterator[Row]:
        finding = loss_of_a_batch(self.arguments.toolkit.resolve(), self.reranker, self.out / "triples.tsv")
        yield Row("train", finding)

    def evaluate(self) -> Iterator[Row]:
        qrels, run = self.out / "qrels.trec", self.out / "bm25.trec"
        write_qrels(qrels, self.collection.qrels["test"])
        toolkit = self.toolkit("evaluate", "--run", run, "--qrels", qrels, "--dataset", "here", "--json")
        theirs = json.loads(self.said().splitlines()[-1])
        usage = self.ours("evaluate-run", qrels, run, "--measures", " ".join(MEASURES.values()), "--json")
        ours = json.loads(self.said())["runs"][0]["measures"]
        differ = [
            f"{name} is {theirs[key]}" for key, name in MEASURES.items() if f"{ours[name]:.4f}" != f"{theirs[key]:.4f}"
        ]
        agreement = f"but the toolkit's {', '.join(differ)}" if differ else "equal to four decimals"
        listed = ", ".join(f"{name} {value:.4f}" for name, value in ours.items())
        yield Row("evaluate", f"{listed}: {agreement}", toolkit, usage)


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
