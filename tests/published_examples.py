"""Training examples in the layouts of other tools, for the collection of published.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from published import (
    SCORES,
    SUBJECTS,
    Subject,
    collection,
    gpl_queries,
    put_csv,
    put_json,
    put_jsonl,
    put_parquet,
    put_saved,
    put_tsv,
    udapdr,
)

# Training examples by ids


def colbert_triples(folder: Path) -> None:
    collection(folder)
    put_jsonl(folder / "triples.json", ([s.number, s.number, other.number] for s in SUBJECTS for other in s.negatives))


def colbert_examples(folder: Path) -> None:
    collection(folder)
    rows = ([s.number, *([doc.number, score] for doc, score in zip(s.listed, SCORES, strict=True))] for s in SUBJECTS)
    put_jsonl(folder / "examples.json", rows)


def colbert_scores(folder: Path) -> None:
    collection(folder)
    rows = ([s.number, [[score, doc.number] for doc, score in zip(s.listed, SCORES, strict=True)]] for s in SUBJECTS)
    put_jsonl(folder / "distillation_scores.json", rows)


def udapdr_results(folder: Path) -> None:
    """UDAPDR's reranker results: one object in a .tsv."""
    udapdr(folder)
    rows = [(s.number, doc.number, score) for s in SUBJECTS for doc, score in zip(s.listed, SCORES, strict=True)]
    qids, pids, logits = map(list, zip(*rows, strict=True))
    labels = [int(qid == pid) for qid, pid, _ in rows]
    put_json(folder / "results.tsv", {"qids": qids, "pids": pids, "logits": logits, "labels": labels})


def triples_ids(folder: Path) -> None:
    collection(folder)
    put_tsv(folder / "triples.tsv", ((s.number, s.number, other.number) for s in SUBJECTS for other in s.negatives))


def tuples_ids(folder: Path) -> None:
    collection(folder)
    put_tsv(folder / "tuples.tsv", ((s.number, *(doc.number for doc in s.listed)) for s in SUBJECTS))


def gpl_negatives(folder: Path) -> None:
    gpl_queries(folder)
    rows = (
        {
            "qid": f"genQ{s.number}",
            "pos": [str(s.number)],
            "neg": {"msmarco-distilbert-base-v3": [str(doc.number) for doc in s.negatives]},
        }
        for s in SUBJECTS
    )
    put_jsonl(folder / "hard-negatives.jsonl", rows)


def gpl_training(folder: Path) -> None:
    gpl_negatives(folder)
    rows = ((s, doc, SCORES[0] - score) for s in SUBJECTS for doc, score in zip(s.negatives, SCORES[1:], strict=True))
    put_tsv(folder / "gpl-training-data.tsv", ((f"genQ{s.number}", s.number, doc.number, m) for s, doc, m in rows))


def pylate(folder: Path) -> None:
    """As on the hub: one table each, with lists stored as text."""
    put_parquet(folder / "train.parquet", _pylate_lists())
    put_parquet(folder / "queries.parquet", ({"query_id": s.number, "text": s.query} for s in SUBJECTS))
    put_parquet(folder / "documents.parquet", ({"document_id": s.number, "text": s.default_text} for s in SUBJECTS))


def pylate_train(folder: Path) -> None:
    """The training lists alone."""
    collection(folder)
    put_parquet(folder / "train.parquet", _pylate_lists())


def _pylate_lists() -> Iterator[dict[str, Any]]:
    for s in SUBJECTS:
        doc_ids = [doc.number for doc in s.listed]
        yield {"query_id": s.number, "document_ids": str(doc_ids), "scores": str(list(SCORES))}


def tevatron(folder: Path) -> None:
    rows = (
        {
            "query_id": str(s.number),
            "query_text": s.query,
            "query_image": None,
            "positive_document_ids": [str(s.number)],
            "negative_document_ids": [str(doc.number) for doc in s.negatives],
            "answer": None,
            "source": "made",
        }
        for s in SUBJECTS
    )
    put_jsonl(folder / "train.jsonl", rows)


def tevatron_v1(folder: Path) -> None:
    def passages(docs: Sequence[Subject]) -> list[dict[str, str]]:
        return [{"docid": str(doc.number), "title": doc.title, "text": doc.text} for doc in docs]

    rows = (
        {
            "query_id": str(s.number),
            "query": s.query,
            "positive_passages": passages([s]),
            "negative_passages": passages(s.negatives),
        }
        for s in SUBJECTS
    )
    put_jsonl(folder / "train.jsonl", rows)


def nemo(folder: Path) -> None:
    data = [
        {
            "question_id": f"{s.number}",
            "question": s.query,
            "corpus_id": "made",
            "pos_doc": [{"id": str(s.number)}],
            "neg_doc": [{"id": str(doc.number)} for doc in s.negatives],
        }
        for s in SUBJECTS
    ]
    put_json(folder / "train.json", {"corpus": [{"path": "corpus"}], "data": data}, indent=4)
    put_parquet(folder / "corpus" / "part-0.parquet", ({"id": str(s.number), "text": s.default_text} for s in SUBJECTS))
    put_json(folder / "corpus" / "merlin_metadata.json", {"class": "TextQADataset", "corpus_id": "made"})


# Training examples by texts


def triples(folder: Path) -> None:
    """As in the InPars toolkit and on Hugging Face: quoted as CSV."""
    rows = ((s.query, s.default_text, doc.default_text) for s in SUBJECTS for doc in s.negatives)
    put_csv(folder / "triples.tsv", rows, delimiter="\t", lineterminator="\n")


def triples_raw(folder: Path) -> None:
    """As InPars v1's script prints them."""
    rows = ((s.query, s.default_text, doc.default_text) for s in SUBJECTS for doc in s.negatives)
    put_tsv(folder / "triples.train.tsv", rows)


def pairs(folder: Path) -> None:
    rows = ((s.query, doc.default_text, int(doc is s)) for s in SUBJECTS for doc in s.listed)
    put_csv(folder / "pairs.tsv", rows, delimiter="\t", lineterminator="\n")


def _columns(subject: Subject, anchor: str) -> dict[str, Any]:
    first, second = subject.negatives
    texts = {"positive": subject.default_text, "negative_1": first.default_text, "negative_2": second.default_text}
    return {anchor: subject.query, **texts}


def columns(folder: Path) -> None:
    put_parquet(folder / "train" / "train-00000-of-00001.parquet", (_columns(s, "anchor") for s in SUBJECTS))


def columns_jsonl(folder: Path) -> None:
    put_jsonl(folder / "train.jsonl", (_columns(s, "anchor") for s in SUBJECTS), ascii_only=False)


def columns_csv(folder: Path) -> None:
    rows = [_columns(s, "anchor") for s in SUBJECTS]
    put_csv(folder / "train.csv", [list(rows[0]), *(list(row.values()) for row in rows)])


def triplets(folder: Path) -> None:
    """The `triplet` output of `mine_hard_negatives`, saved."""
    rows = (
        {"anchor": s.query, "positive": s.default_text, "negative": doc.default_text}
        for s in SUBJECTS
        for doc in s.negatives
    )
    put_saved(folder / "triplets", rows)


def columns_scores(folder: Path) -> None:
    put_parquet(folder / "train.parquet", ({**_columns(s, "query"), "label": list(SCORES)} for s in SUBJECTS))


def columns_pairs(folder: Path) -> None:
    rows = ({"anchor": s.query, "text": doc.default_text, "label": int(doc is s)} for s in SUBJECTS for doc in s.listed)
    put_saved(folder / "pairs", rows)


def columns_lists(folder: Path) -> None:
    rows = (
        {"query": s.query, "docs": [doc.default_text for doc in s.listed], "scores": list(SCORES)} for s in SUBJECTS
    )
    put_parquet(folder / "lists.parquet", rows)


def flag_embedding(folder: Path) -> None:
    rows = (
        {
            "query": s.query,
            "pos": [s.default_text],
            "neg": [doc.default_text for doc in s.negatives],
            "pos_scores": [SCORES[0]],
            "neg_scores": list(SCORES[1:]),
            "prompt": "Represent this sentence for searching relevant passages: ",
            "type": "normal",
        }
        for s in SUBJECTS
    )
    put_jsonl(folder / "train.jsonl", rows, ascii_only=False)


def nemo_inline(folder: Path) -> None:
    rows = (
        {"query": s.query, "pos_doc": [s.default_text], "neg_doc": [doc.default_text for doc in s.negatives]}
        for s in SUBJECTS
    )
    put_jsonl(folder / "train.jsonl", rows)


def nixietune(folder: Path) -> None:
    rows = (
        {"query": s.query, "doc": s.default_text, "neg": [doc.default_text for doc in s.negatives], "negscore": [1, 0]}
        for s in SUBJECTS
    )
    put_jsonl(folder / "train.jsonl", rows)


def cohere(folder: Path) -> None:
    rows = (
        {
            "query": s.query,
            "relevant_passages": [s.default_text],
            "hard_negatives": [doc.default_text for doc in s.negatives],
        }
        for s in SUBJECTS
    )
    put_jsonl(folder / "train.jsonl", rows)


def ms_swift(folder: Path) -> None:
    def message(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    rows = (
        {
            "messages": message(s.query),
            "positive_messages": [message(s.default_text)],
            "negative_messages": [message(doc.default_text) for doc in s.negatives],
        }
        for s in SUBJECTS
    )
    put_jsonl(folder / "train.jsonl", rows, ascii_only=False)
