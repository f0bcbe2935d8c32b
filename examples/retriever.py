"""A run as the retriever of an application that answers questions from documents (RAG), which are in memory here.

python examples/retriever.py rows.jsonl run "how do I reset the thing"
"""

import argparse
import json
from pathlib import Path
from typing import Any

import acclimate

parser = argparse.ArgumentParser()
parser.add_argument("rows", type=Path, help="JSON Lines with _id, text and any other fields")
parser.add_argument("out")
parser.add_argument("question")
arguments = parser.parse_args()

# As they may come from a database: any iterable of dicts, or of acclimate.Doc.
rows = [json.loads(line) for line in arguments.rows.read_text(encoding="utf-8").splitlines()]
run = acclimate.adapt(rows, out=arguments.out)  # of the same documents a finished run, at once


def retrieve(question: str, k: int = 3, **filters: Any) -> list[dict[str, Any]]:
    """What an LLM is to answer from, best first: texts with their sources; all frameworks take such."""
    hits = run.search(question, k, filters=filters)
    return [{"text": hit.doc.default_text(), "source": hit.document_id, **hit.fields} for hit in hits]


context = retrieve(arguments.question)
print("Answer from these passages, and name those that you use:")
for number, passage in enumerate(context, 1):
    print(f"\n[{number}] {passage['source']}\n{passage['text']}")
print(f"\nQuestion: {arguments.question}")
