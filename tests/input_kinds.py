"""Every kind of file that acclimate reads: a valid example, its reader, and a command that takes it."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from acclimate.base.testing import DOCS, QUERIES
from acclimate.corpus import collections
from acclimate.corpus.formats import read_nway, read_prompt_examples, read_synthetic
from acclimate.llm import prompts
from acclimate.llm.backends.server import ServerLLM
from acclimate.llm.batches import BatchedCompletions, read_results
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.prices import price
from acclimate.measure.compared_runs import compare_runs
from acclimate.records import PromptExample
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES

SHOWN = [PromptExample(str(n), str(n), f"query {n}", f"document {n}") for n in range(3)]


class Kind(NamedTuple):
    """A file and its reader, called with its path and an empty folder; `argv` passes it to the command line."""

    name: str
    content: bytes
    read: Callable[[Path, Path], object]
    argv: tuple[str, ...] = ()


def jsonl(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


CORPUS = [{"_id": doc.doc_id, "title": doc.title, "text": doc.text} for doc in DOCS[:20]]
ASKED = [{"_id": query.query_id, "text": query.text} for query in QUERIES[:6]]
JUDGED = [(query["_id"], doc["_id"]) for query, doc in zip(ASKED, CORPUS[:6], strict=True)]
QRELS = "query-id\tcorpus-id\tscore\n" + "".join(f"{query}\t{doc}\t1\n" for query, doc in JUDGED)
RUN = "".join(f"{query} Q0 {doc} {n} {9 - n}.5 tag\n" for query, _ in JUDGED for n, (_, doc) in enumerate(JUDGED, 1))
TABLE = [[value.replace(",", "").replace('"', "") for value in row.values()] for row in CORPUS]
PROMPT = """name = "mine"
description = "a prompt"
instruction = "Write a query.\\n"
example = "Document: {document}\\nQuery: {query}\\n\\n"
target = "Document: {document}\\nQuery:"
stop = ["\\n"]
chat = false
[[examples]]
document = "a document"
query = "a query"
"""
YAML = """mine:
  mode: dynamic
  template: |
    Document: {document}
    Query: {query}
"""
LLM = ServerLLM("openai:tiny@http://there/v1", Decoding(max_new_tokens=9))
ASKING = [f"Document: {n}\nQuestion:" for n in range(5)]


def asking(folder: Path) -> list[str]:
    """Make a cache with pending requests; returns their ids."""
    with BatchedCompletions(folder / "completions.sqlite", "generate") as kept:
        kept.complete(LLM, ASKING)
        return list(kept.requests)


with tempfile.TemporaryDirectory() as _folder:
    ANSWERS = [
        {
            "custom_id": key,
            "response": {
                "status_code": 200,
                "body": {
                    "usage": {"prompt_tokens": 7, "completion_tokens": 4},
                    "choices": [{"message": {"content": "what is it"}, "finish_reason": "stop"}],
                },
            },
            "error": None,
        }
        for key in asking(Path(_folder))
    ]


def corpus(path: Path, folder: Path) -> object:
    return len(collections.load(str(path), folder).corpus)


def valid_corpus(folder: Path) -> str:
    path = folder / "valid.jsonl"
    path.write_bytes(jsonl(CORPUS))
    return str(path)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def queries(path: Path, folder: Path) -> object:
    qrels = written(folder, "qrels.tsv", QRELS)
    return collections.load(valid_corpus(folder), folder, queries=str(path), qrels=str(qrels))


def qrels(path: Path, folder: Path) -> object:
    asked = written(folder, "queries.jsonl", jsonl(ASKED))
    return collections.load(valid_corpus(folder), folder, queries=str(asked), qrels=str(path))


def in_a_folder(path: Path, folder: Path) -> object:
    written(path.parent, "other.txt", "some other text")
    return corpus(path.parent, folder)


def trec_run(path: Path, folder: Path) -> object:
    other = written(folder, "baseline.trec", RUN)
    return compare_runs(written(folder, "qrels.tsv", QRELS), path, other, measure="nDCG@10", seed=0)


def recipe(path: Path, folder: Path) -> object:
    return resolve(STAGES, load_recipe(str(path)), (), path)


def prompt(path: Path, folder: Path) -> object:
    return prompts.load(path, SHOWN).render("a document")


def batch(path: Path, folder: Path) -> object:
    asking(folder)
    with Completions(folder / "completions.sqlite", "generate") as kept:
        return read_results(kept, path)


ADAPT = ("adapt", "{valid}", "--out", "{out}", "--dry-run")
KINDS = [
    Kind("corpus.jsonl", jsonl(CORPUS), corpus, ("adapt", "{path}", "--out", "{out}", "--dry-run")),
    Kind("corpus.jsonl.gz", gzip.compress(jsonl(CORPUS), mtime=0), corpus),
    Kind("corpus.csv", "\n".join(map(",".join, [CORPUS[0], *TABLE])).encode(), corpus),
    Kind("corpus.tsv", "\n".join(map("\t".join, [CORPUS[0], *TABLE])).encode(), corpus),
    Kind("corpus.parquet", parquet(CORPUS), corpus),
    Kind("a.md", b"# A title\n\nsome text\n\n```\n# no title\n```\n", in_a_folder),
    Kind("a.txt", b"some text\nof two lines\n", in_a_folder),
    Kind("a.html", b"<html><title>A &amp; B</title><p>some <b>text</b><script>x<y</script></html>", in_a_folder),
    Kind("asked.jsonl", jsonl(ASKED), queries, (*ADAPT, "--queries", "{path}", "--qrels", "{qrels}")),
    Kind("asked.parquet", parquet(ASKED), queries),
    Kind("test.tsv", QRELS.encode(), qrels, ("compare", "{path}", "{run}", "{run}")),
    Kind("test.qrels", "".join(f"{query} 0 {doc} 1\n" for query, doc in JUDGED).encode(), qrels),
    Kind("run.trec", RUN.encode(), trec_run, ("compare", "{qrels}", "{path}", "{run}")),
    Kind(
        "recipe.toml",
        b'description = "mine"\n[sample]\nn_docs = 9\nmethod = "uniform"\n[generate]\nprompt = ["question", "claim"]\n'
        b'task = "a task"\n[train]\nlearning_rate = 1e-4\n[distill]\nmatryoshka = [8, 16]\n',
        recipe,
        (*ADAPT, "--recipe", "{path}"),
    ),
    Kind(
        "prices.toml",
        b'["openai:m"]\nprompt = 0.5\ncompletion = 1\n',
        lambda path, _: price("openai:m", path),
        (*ADAPT, "--prices", "{path}", "--set", "generate.llm=openai:m", "--max-cost", "1"),
    ),
    Kind("prompt.toml", PROMPT.encode(), prompt, ("prompts", "show", "{path}")),
    Kind("prompt.yaml", YAML.encode(), prompt, ("prompts", "check", "{path}")),
    Kind("prompt.txt", b"Document: {document}\nQuery:", prompt, ("prompts", "show", "{path}")),
    Kind(
        "judge.toml",
        PROMPT.replace("Query:", "{query} Grade:").encode(),
        lambda path, _: prompts.judge(path).render("a document", "a query"),
    ),
    Kind(
        "examples.jsonl",
        jsonl({"query": row["text"], "document": "a document", "query_id": row["_id"], "doc_id": "d"} for row in ASKED),
        lambda path, _: read_prompt_examples(path, {}),
    ),
    Kind("results.jsonl", jsonl(ANSWERS), batch),
    Kind(
        "lists.jsonl",
        jsonl({"query_id": row["_id"], "doc_ids": ["a", "b"], "scores": [0.5, 0.25]} for row in ASKED),
        lambda path, _: list(read_nway(path)),
    ),
    Kind(
        "synthetic.jsonl",
        jsonl({"query_id": row["_id"], "doc_id": "a", "query": row["text"], "logprob": -0.5} for row in ASKED),
        lambda path, _: list(read_synthetic(path)),
    ),
]
