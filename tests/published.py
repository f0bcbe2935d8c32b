"""A small collection in the layouts of other tools, byte for byte as those tools write them.

Nothing here is written with acclimate, whose writers could share a mistake with its readers. Training examples are in
published_examples.py.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.testing import DOCS, QUERIES

Rows = Iterable[Sequence[Any]]


class Subject(NamedTuple):
    """A document, a query written for it, and a teacher's scores of it and two others."""

    number: int  # that of its line, which is its id in formats that have no other
    title: str
    text: str
    query: str

    @property
    def default_text(self) -> str:
        return f"{self.title} {self.text}"

    @property
    def negatives(self) -> list[Subject]:
        return [SUBJECTS[(self.number + step) % len(SUBJECTS)] for step in (5, 11)]

    @property
    def listed(self) -> list[Subject]:
        return [self, *self.negatives]


ODD = {1: '"Slow" means inches/day.', 2: "Ça déferle — “très” vite.", 3: "It's 50% sand; {dunes} & \\rocks."}
SUBJECTS = [
    Subject(n, doc.title, f"{ODD[n]} {doc.text}" if n in ODD else doc.text, query.text)
    for n, (doc, query) in enumerate(zip(DOCS[:24], QUERIES, strict=False))
]
JUDGED = SUBJECTS[:6]  # their queries are judged
SCORES = (1.0, 0.25, 0.0)  # of the source and its negatives; within [0, 1], so that every format can hold them


def put_lines(path: Path, lines: Iterable[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


def put_jsonl(path: Path, rows: Iterable[Any], *, ascii_only: bool = True) -> None:
    put_lines(path, (json.dumps(row, ensure_ascii=ascii_only) for row in rows))


def put_pandas(path: Path, rows: Iterable[Any]) -> None:
    """Like `DataFrame.to_json(orient="records", lines=True)`: no spaces, slashes escaped."""
    put_lines(path, (json.dumps(row, separators=(",", ":")).replace("/", "\\/") for row in rows))


def put_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent))


def put_tsv(path: Path, rows: Rows) -> None:
    put_lines(path, ("\t".join(map(str, row)) for row in rows))


def put_csv(path: Path, rows: Rows, **dialect: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, **dialect).writerows(rows)


def put_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)


def put_saved(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Like `save_to_disk` of Hugging Face's datasets."""
    import pyarrow as pa

    table = pa.Table.from_pylist(list(rows))
    path.mkdir(parents=True)
    name = "data-00000-of-00001.arrow"
    with pa.OSFile(str(path / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    put_json(path / "state.json", {"_data_files": [{"filename": name}], "_format_type": None, "_split": "train"})
    put_json(path / "dataset_info.json", {"citation": "", "description": "", "features": {}})


# Documents, queries and judgments


def beir(folder: Path, split: str = "") -> None:
    """A BEIR folder. split: of the judgments; "": corpus only."""
    docs = ({"_id": str(n), "title": title, "text": text, "metadata": {"url": ""}} for n, title, text, _ in SUBJECTS)
    put_jsonl(folder / "corpus.jsonl", docs)
    if split:
        put_jsonl(folder / "queries.jsonl", ({"_id": str(s.number), "text": s.query, "metadata": {}} for s in SUBJECTS))
        rows = [("query-id", "corpus-id", "score"), *((s.number, s.number, 1) for s in SUBJECTS)]
        put_tsv(folder / "qrels" / f"{split}.tsv", rows)


def beir_train(folder: Path) -> None:
    beir(folder, "train")


def judged(folder: Path) -> None:
    """Some of the queries, with judgments in BEIR's format."""
    put_jsonl(folder / "queries.jsonl", ({"_id": str(s.number), "text": s.query, "metadata": {}} for s in JUDGED))
    put_tsv(
        folder / "qrels" / "test.tsv", [("query-id", "corpus-id", "score"), *((s.number,) * 2 + (1,) for s in JUDGED)]
    )


def hub_corpus(folder: Path) -> None:
    """BEIR's documents as on the Hugging Face hub: a folder of Parquet shards."""
    rows = [{"_id": str(n), "title": title, "text": text} for n, title, text, _ in SUBJECTS]
    put_parquet(folder / "corpus" / "corpus-00000-of-00002.parquet", rows[:10])
    put_parquet(folder / "corpus" / "corpus-00001-of-00002.parquet", rows[10:])


def saved_corpus(folder: Path) -> None:
    put_saved(folder / "corpus", ({"id": n, "title": title, "text": text} for n, title, text, _ in SUBJECTS))


def inpars_corpus(folder: Path) -> None:
    """A user's own documents, as the InPars toolkit reads them."""
    put_csv(folder / "corpus.csv", [("doc_id", "text"), *((s.number, s.default_text) for s in SUBJECTS)])


def tevatron_corpus(folder: Path) -> None:
    put_jsonl(folder / "corpus.jsonl", ({"docid": str(s.number), "document_text": s.default_text} for s in SUBJECTS))


def collection(folder: Path) -> None:
    """ColBERT's collection and queries, without headers."""
    put_tsv(folder / "collection.tsv", ((s.number, s.default_text) for s in SUBJECTS))
    put_tsv(folder / "queries.tsv", ((s.number, s.query) for s in SUBJECTS))


def lotte(folder: Path) -> None:
    put_tsv(folder / "collection.tsv", ((s.number, s.default_text) for s in SUBJECTS))
    for kind, step in (("search", 0), ("forum", 1)):  # both number their queries from the same start
        asked = [SUBJECTS[n] for n in range(step, len(SUBJECTS), 2)]
        put_tsv(folder / f"questions.{kind}.tsv", ((n, s.query) for n, s in enumerate(asked)))
        rows = ({"qid": n, "query": s.query, "url": "", "answer_pids": [s.number]} for n, s in enumerate(asked))
        put_jsonl(folder / f"qas.{kind}.jsonl", rows)


def llama_index(folder: Path) -> None:
    """The output of `EmbeddingQAFinetuneDataset.save_json`."""
    whole = {
        "queries": {str(s.number): s.query for s in SUBJECTS},
        "corpus": {str(s.number): s.default_text for s in SUBJECTS},
        "relevant_docs": {str(s.number): [str(s.number)] for s in SUBJECTS},
        "mode": "text",
    }
    put_json(folder / "dataset.json", whole, indent=4)


def trec_docs(folder: Path) -> None:
    """As on TREC's disks, with several files concatenated."""
    lines = (
        f"<DOC>\n<DOCNO> {s.number} </DOCNO>\n<DATE>\n<P>\nMay 6, 1994\n</P>\n</DATE>\n"
        f"<HEADLINE>\n{_escaped(s.title)}\n</HEADLINE>\n"
        f"<TEXT>\n{_escaped(s.text).replace(' ', chr(10), 3)}\n</TEXT>\n</DOC>\n"
        for s in SUBJECTS
    )
    put_lines(folder / "disk.sgml", lines)


def trec_topics(folder: Path) -> None:
    topics = (
        f"<top>\n\n<num> Number: {s.number} \n<title> {_escaped(s.query)} \n\n<desc> Description: \nFind it.\n\n"
        "<narr> Narrative: \nWhat answers it is relevant.\n\n</top>\n"
        for s in JUDGED
    )
    put_lines(folder / "topics.301-306", topics)
    put_lines(folder / "qrels.txt", (f"{s.number} 0 {s.number} 1" for s in JUDGED))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def trec(folder: Path) -> None:
    """Topics as the InPars toolkit reads them, and judgments."""
    put_tsv(folder / "topics.tsv", ((s.number, s.query) for s in JUDGED))
    put_lines(folder / "qrels.txt", (f"{s.number} 0 {s.number} 1" for s in JUDGED))


def trec_run(folder: Path) -> None:
    """A run of Pyserini."""
    rows = ((s, doc, rank) for s in SUBJECTS for rank, doc in enumerate(s.listed, 1))
    put_lines(folder / "run.txt", (f"{s.number} Q0 {doc.number} {n} {9 - n:.6f} Anserini" for s, doc, n in rows))


def colbert_ranking(folder: Path) -> None:
    rows = ((s.number, doc.number, rank, 9.0 - rank) for s in SUBJECTS for rank, doc in enumerate(s.listed, 1))
    put_tsv(folder / "ranking.tsv", rows)
    put_json(folder / "ranking.tsv.meta", {"metadata": {}})


# Synthetic queries


def inpars_v1(folder: Path) -> None:
    keys = ("doc_id", "doc_text", "question", "log_probs")
    rows = ((str(s.number), s.default_text, f"\n {s.query}", [-0.25, -0.5]) for s in SUBJECTS)
    put_jsonl(folder / "queries.jsonl", (dict(zip(keys, row, strict=True)) for row in rows))


def inpars_v2(folder: Path) -> None:
    keys = ("doc_id", "text", "query", "log_probs", "prompt_text", "fewshot_examples")
    rows = ((str(s.number), s.default_text, s.query, [-0.25, -0.5], "Example 1:\n", ["7", "9"]) for s in SUBJECTS)
    put_pandas(folder / "queries.jsonl", (dict(zip(keys, row, strict=True)) for row in rows))


def inpars_plus(folder: Path) -> None:
    rows = ({"doc_id": str(s.number), "text": s.default_text, "query": s.query, "score": -0.1} for s in SUBJECTS)
    put_pandas(folder / "queries_Llama-3.1-8B_CoT_filtered_all.jsonl", rows)


def gpl_queries(folder: Path) -> None:
    beir(folder)
    rows = ({"_id": f"genQ{s.number}", "text": s.query, "metadata": {}} for s in SUBJECTS)
    put_jsonl(folder / "qgen-queries.jsonl", rows)
    judged = [("query-id", "corpus-id", "score"), *((f"genQ{s.number}", s.number, 1) for s in SUBJECTS)]
    put_tsv(folder / "qgen-qrels" / "train.tsv", judged)


def udapdr(folder: Path) -> None:
    put_jsonl(folder / "qas.jsonl", ({"qid": s.number, "query": s.query, "answer_pids": [s.number]} for s in SUBJECTS))
    put_tsv(folder / "questions.tsv", ((s.number, s.query) for s in SUBJECTS))


# Our own formats, to compare with


def synthetic(folder: Path) -> None:
    from acclimate.corpus.formats import synthetic_id

    rows = (
        {
            "query_id": synthetic_id(str(s.number), s.query),
            "doc_id": str(s.number),
            "query": s.query,
            "text": s.default_text,
            "log_probs": [-0.25, -0.5],
        }
        for s in SUBJECTS
    )
    put_jsonl(folder / "queries.jsonl", rows)


def nway(folder: Path) -> None:
    collection(folder)
    rows = (
        {"query_id": str(s.number), "doc_ids": [str(doc.number) for doc in s.listed], "scores": SCORES}
        for s in SUBJECTS
    )
    put_jsonl(folder / "nway.jsonl", rows)
