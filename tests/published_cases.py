"""All published layouts, the option that passes each to a run, and the equivalent file in our own format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import published as p
import published_examples as e

TAUGHT = ("distill.student=dense-query", "distill.epochs=1", "evaluate.rerank=", "sample.dev_share=0.2")
CONTRASTIVE = (*TAUGHT, "distill.loss=contrastive")  # for examples without scores


class Case(NamedTuple):
    """A published layout, its option, and the equivalent file of ours."""

    write: Callable[[Path], None]
    format: str
    options: dict[str, str]  # option -> file in its folder
    like: str  # of OURS
    convert: tuple[str, ...] = ()  # before: FROM, TO and options, where adapt itself does not read it


def ours(number_of: Callable[[p.Subject], str] | None = None, *, log_probs: bool = False) -> Callable[[Path], None]:
    """Synthetic queries in our format. number_of: gives their ids; by default hashes of their content."""
    from acclimate.corpus.formats import synthetic_id

    def write(folder: Path) -> None:
        rows = (
            {
                "query_id": number_of(s) if number_of else synthetic_id(str(s.number), s.query),
                "doc_id": str(s.number),
                "query": s.query,
            }
            | ({"log_probs": [-0.25, -0.5]} if log_probs else {})
            for s in p.SUBJECTS
        )
        p.put_jsonl(folder / "queries.jsonl", rows)

    return write


def examples(
    rows_of: Callable[[p.Subject], list[dict[str, object]]], number_of: Callable[[p.Subject], str] | None = None
) -> Callable[[Path], None]:
    """The same with training examples in our format. rows_of: the examples of a subject, without the query."""

    def write(folder: Path) -> None:
        ours(number_of)(folder)
        written = (folder / "queries.jsonl").read_text().splitlines()
        rows = (
            {"query_id": json.loads(line)["query_id"], **row}
            for line, s in zip(written, p.SUBJECTS, strict=True)
            for row in rows_of(s)
        )
        p.put_jsonl(folder / "nway.jsonl", rows)

    return write


def lists(s: p.Subject) -> list[dict[str, object]]:
    return [{"doc_ids": [str(doc.number) for doc in s.listed]}]


def scored(s: p.Subject) -> list[dict[str, object]]:
    return [{**lists(s)[0], "scores": list(p.SCORES)}]


def unsure(s: p.Subject) -> list[dict[str, object]]:
    return [{**scored(s)[0], "has_positive": False}]


def by_negative(s: p.Subject) -> list[dict[str, object]]:
    return [{"doc_ids": [str(s.number), str(doc.number)]} for doc in s.negatives]


def margins(s: p.Subject) -> list[dict[str, object]]:
    return [
        {**row, "scores": [p.SCORES[0] - score, 0.0]} for row, score in zip(by_negative(s), p.SCORES[1:], strict=True)
    ]


def number(s: p.Subject) -> str:
    return str(s.number)


def generated(s: p.Subject) -> str:
    """Query ids as GPL makes them."""
    return f"genQ{s.number}"


QUERIES, NWAY = {"--from-queries": "queries.jsonl"}, {"--from-nway": "nway.jsonl", "--from-queries": "queries.jsonl"}
OURS = {
    "queries": (ours(log_probs=True), QUERIES),
    "queries without log_probs": (ours(), QUERIES),
    "numbered queries": (ours(number), QUERIES),
    "GPL's queries": (ours(generated), QUERIES),
    "lists": (examples(lists), NWAY),
    "numbered lists": (examples(lists, number), NWAY),
    "GPL's lists": (examples(lists, generated), NWAY),
    "triples": (examples(by_negative), NWAY),
    "numbered triples": (examples(by_negative, number), NWAY),
    "scores": (examples(scored), NWAY),
    "numbered scores": (examples(scored, number), NWAY),
    "numbered scores, no positive": (examples(unsure, number), NWAY),
    "GPL's margins": (examples(margins, generated), NWAY),
}


def nway(write, form, file, like, queries="", **more) -> Case:
    return Case(write, form, {"--from-nway": file} | ({"--from-queries": queries} if queries else {}), like, **more)


def written(write, form, file, like, **more) -> Case:
    return Case(write, form, {"--from-queries": file}, like, **more)


CASES = [
    written(p.inpars_v1, "inpars-v1", "queries.jsonl", "queries"),
    written(p.inpars_v2, "inpars", "queries.jsonl", "queries"),
    written(p.inpars_plus, "inpars", "queries_Llama-3.1-8B_CoT_filtered_all.jsonl", "queries without log_probs"),
    written(p.synthetic, "synthetic", "queries.jsonl", "queries"),
    written(p.beir_train, "beir", ".", "numbered queries"),
    written(p.gpl_queries, "gpl", ".", "GPL's queries"),
    written(p.gpl_queries, "queries", "qgen-queries.jsonl", "GPL's queries"),
    written(p.udapdr, "qas", "qas.jsonl", "numbered queries"),
    written(p.llama_index, "llama-index", "dataset.json", "numbered queries"),
    nway(p.nway, "nway", "nway.jsonl", "numbered scores", "queries.tsv"),
    nway(e.colbert_triples, "colbert", ".", "numbered triples"),
    nway(e.colbert_triples, "colbert-triples", "triples.json", "numbered triples", "queries.tsv"),
    nway(e.colbert_examples, "colbert", ".", "numbered scores"),
    nway(e.colbert_examples, "colbert-examples", "examples.json", "numbered scores", "queries.tsv"),
    nway(e.colbert_scores, "colbert-scores", "distillation_scores.json", "numbered scores, no positive", "queries.tsv"),
    nway(e.udapdr_results, "udapdr-results", "results.tsv", "numbered scores", "questions.tsv"),
    nway(e.triples_ids, "triples-ids", "triples.tsv", "numbered triples", "queries.tsv"),
    nway(e.tuples_ids, "triples-ids", "tuples.tsv", "numbered lists", "queries.tsv"),
    nway(e.tuples_ids, "tuples-ids", "nway.jsonl", "numbered lists", "queries.tsv",
         convert=("tuples.tsv", "nway.jsonl", "--from", "tuples-ids")),
    nway(e.gpl_negatives, "gpl-negatives", "hard-negatives.jsonl", "GPL's lists", "qgen-queries.jsonl"),
    nway(e.gpl_training, "gpl-training", "gpl-training-data.tsv", "GPL's margins", "qgen-queries.jsonl"),
    nway(e.pylate, "pylate", ".", "numbered scores"),
    nway(e.pylate_train, "pylate-train", "train.parquet", "numbered scores", "queries.tsv"),
    nway(e.tevatron, "tevatron", "train.jsonl", "numbered lists"),
    nway(e.tevatron_v1, "tevatron-v1", "train.jsonl", "numbered lists"),
    nway(e.nemo, "nemo", ".", "numbered lists"),
    nway(e.nemo, "nemo", "train.json", "numbered lists"),
    nway(e.triples, "triples", "triples.tsv", "triples"),
    nway(e.triples_raw, "triples", "triples.train.tsv", "triples"),
    nway(e.triples_raw, "triples-raw", "triples.tsv", "triples",
         convert=("triples.train.tsv", "triples.tsv", "--from", "triples-raw", "--to", "triples")),
    nway(e.pairs, "pairs", "pairs.tsv", "lists"),
    nway(e.columns, "columns", "train", "lists"),
    nway(e.columns_jsonl, "columns", "train.jsonl", "lists"),
    nway(e.columns_csv, "columns", "train.csv", "lists"),
    nway(e.triplets, "columns", "triplets", "triples"),
    nway(e.columns_scores, "columns-scores", "train.parquet", "scores"),
    nway(e.columns_pairs, "columns-pairs", "pairs", "lists"),
    nway(e.columns_lists, "columns-lists", "lists.parquet", "scores"),
    nway(e.flag_embedding, "flagembedding", "train.jsonl", "scores"),
    nway(e.nemo_inline, "nemo-inline", "train.jsonl", "lists"),
    nway(e.nixietune, "nixietune", "train.jsonl", "lists"),
    nway(e.cohere, "cohere", "train.jsonl", "lists"),
    nway(e.ms_swift, "ms-swift", "train.jsonl", "lists"),
]  # fmt: skip


# Document layouts: writer, file in the folder, and the format to convert it to if adapt does not read it.
TITLED = [
    (p.beir, "documents", "corpus.jsonl", ""),
    (p.beir, "beir", ".", ""),
    (p.gpl_queries, "gpl", ".", ""),
    (p.trec_docs, "trec-docs", "disk.sgml", ""),
    (p.hub_corpus, "documents", "corpus", ""),
    (p.saved_corpus, "documents", "corpus", "new.jsonl"),
]
PLAIN = [  # with the title in the text
    (p.inpars_corpus, "documents", "corpus.csv", ""),
    (p.tevatron_corpus, "documents", "corpus.jsonl", ""),
    (p.collection, "documents-tsv", "collection.tsv", ""),
    (e.colbert_triples, "colbert", ".", ""),
    (e.pylate, "documents", "documents.parquet", ""),
    (e.pylate, "pylate", ".", "new.jsonl"),
    (e.nemo, "nemo", ".", "new.jsonl"),
    (p.llama_index, "llama-index", "dataset.json", "new.jsonl"),
]
# Layouts of judged queries, and of a search engine's results for them.
JUDGED = [
    (p.judged, ("--queries", "queries.jsonl", "--qrels", "qrels/test.tsv"), ("queries", "qrels"), "trec-run"),
    (p.trec, ("--queries", "topics.tsv", "--qrels", "qrels.txt"), ("queries-tsv", "trec-qrels"), "colbert-ranking"),
    (p.trec_topics, ("--queries", "topics.301-306", "--qrels", "qrels.txt"), ("trec-topics", "trec-qrels"), "trec-run"),
]
