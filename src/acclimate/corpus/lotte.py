"""LoTTE's folders as published: collection.tsv, and two kinds of queries with their answers.

The kinds, search and forum, use the same query ids, so only one is read: FOLDER/search has queries typed into a search
engine, FOLDER/forum titles of posts. A folder with one kind needs no choice, nor do those that UDAPDR made of BEIR
(qas.jsonl, questions.tsv).
"""

from __future__ import annotations

from pathlib import Path

from acclimate.base.errors import DataError
from acclimate.base.files import exists, is_file
from acclimate.corpus.formats import colbert, headerless
from acclimate.corpus.formats.colbert_folders import files_by_kind
from acclimate.corpus.formats.content import Content
from acclimate.corpus.formats.fields import Located
from acclimate.corpus.named_collections import KINDS
from acclimate.records import Doc

COLLECTION = "collection.tsv"


def find(path: Path) -> tuple[Path, str] | None:
    """(folder with collection.tsv that `path` refers to, kind of queries that it names, if any)."""
    if is_file(path / COLLECTION):
        return path, ""
    if path.name in KINDS and is_file(path.parent / COLLECTION) and not exists(path):
        return path.parent, path.name
    return None


def docs(folder: Path) -> Located[Doc]:
    """The documents in the order of the file."""
    return Located(headerless.docs(folder / COLLECTION))


def labels(folder: Path, kind: str) -> Content:
    """Queries of a kind with their answers as the split `test`, or without judgments if there are no answers.

    Raises DataError for a missing kind, and if there are several kinds and none is named.
    """
    answers, questions = files_by_kind(folder, "qas"), files_by_kind(folder, "questions")
    present = answers or questions
    if not present and not kind:
        return Content()
    if not kind and len(present) > 1:
        named = " or ".join(str(folder / kind) for kind in present)
        raise DataError(f"has queries of several kinds, which number them alike; name {named}", path=folder)
    kind = kind or next(iter(present))
    if kind not in present:
        raise DataError(f"no queries of the kind {kind}; there are {', '.join(present) or 'none'}", path=folder)
    if answers:
        return colbert.read_qas(answers[kind], split="test")
    return headerless.read_queries(questions[kind])
