"""The input of a run: documents, passages, queries, judgments and a log, from their source or as stored by the run.

A run stores all of it in its folder: documents and passages as Arrow files named by what they were made from, queries
with judgments in `queries.jsonl`, a log in `log.jsonl`, and provided queries, examples and runs in files of their own.
A finished run reads these, so it works from any folder, and after its source has changed or is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.digests import is_sealed, seal
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import read_jsonl, write_jsonl
from acclimate.base.text import command
from acclimate.corpus import collections, passages, query_log, survey
from acclimate.corpus.collections import Collection
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import are_rated, read_any_written, read_prompt_examples, read_run, write_run
from acclimate.corpus.judged_queries import Labels
from acclimate.corpus.provided_queries import EXAMPLES, ProvidedQueries
from acclimate.corpus.provided_queries import FILES as PROVIDED_FILES
from acclimate.corpus.query_log import NO_LOG, QueryLog
from acclimate.records import PromptExample, Qrel, Query
from acclimate.run.provided import Provided

QUERIES = "queries.jsonl"
LOG = "log.jsonl"
FIRST_STAGE = "first-stage.trec"


class CorpusFiles(NamedTuple):
    """Names of the stored corpus files that an index was made from."""

    documents: str
    corpus: str = ""  # the same if no document was split; "" if documents are to be split again


@dataclass
class Input:
    """The input of one run, stored in `folder`."""

    name: str
    source: str
    provided: Provided
    folder: Path
    words: int | str = 0  # of a passage, as in the settings
    passage_overlap: int = 0
    max_tokens: int = 0  # that an encoder reads of a text
    kept: CorpusFiles | None = None  # read these files instead of the source

    @property
    def missing(self) -> str | None:
        """The first source file that does not exist; None if all do."""
        source = collections.path_of(self.source)
        paths = [*([source] if source else []), *map(Path, self.provided.files.values())]
        return next((str(path) for path in paths if not path.exists()), None)

    @cached_property
    def collection(self) -> Collection:
        if self.kept is None:
            return collections.load(self.source, self.folder, queries=self.provided.queries, qrels=self.provided.qrels)
        documents = self._sealed(self.kept.documents)
        queries, qrels = _read(self._sealed(QUERIES))
        return Collection(self.name, Corpus.open(documents, source=self.source), queries, qrels)

    @property
    def documents(self) -> Corpus:
        """The documents that judgments refer to."""
        return self.collection.corpus

    @cached_property
    def passage_words(self) -> int:
        """The number of words of a passage; 0 for whole documents, which provided training examples name."""
        if isinstance(self.words, int):
            return self.words
        return 0 if self.provided.from_nway else survey.passage_words(self.documents, self.max_tokens)

    @cached_property
    def corpus(self) -> Corpus:
        """What is indexed and what queries are written for: the documents, or passages of them."""
        if self.kept is None or not self.kept.corpus:
            words, overlap = self.passage_words, self.passage_overlap
            return collections.passages(self.documents, self.folder, words=words, overlap=overlap)
        if self.kept.corpus == self.kept.documents:
            return self.documents
        return Corpus.open(self._sealed(self.kept.corpus), source=self.source)

    @cached_property
    def parents(self) -> dict[str, str]:
        """Passage id -> document id; empty if documents were not split."""
        return {} if self.corpus is self.documents else passages.parents(self.corpus, self.documents)

    @property
    def unit(self) -> str:
        """What is indexed, as a word: documents, or passages if there are any."""
        return "passages" if self.parents else "documents"

    @cached_property
    def labels(self) -> Labels:
        return Labels(self.collection)

    @cached_property
    def log(self) -> QueryLog:
        """Real queries without judgments; empty if no log was provided."""
        if self.provided.log is None:
            return NO_LOG
        return (
            query_log.read(Path(self.provided.log)) if self.kept is None else query_log.read_stored(self._sealed(LOG))
        )

    def check(self) -> None:
        """Raises DataError for an invalid file among those provided beside the documents."""
        self.log  # noqa: B018 (which is read here)
        if self.kept is not None:
            return
        if "from_nway" in self.provided.files:
            self.has_rated_examples  # noqa: B018 (which reads some of it)
        elif "from_queries" in self.provided.files:
            read_any_written(self.provided.files["from_queries"])
        if "first_stage" in self.provided.files:
            path = self.provided.files["first_stage"]
            if next(read_run(path), None) is None:
                raise DataError("is empty; expected a TREC run: qid Q0 docid rank score tag", path=path)

    @cached_property
    def provided_queries(self) -> ProvidedQueries | None:
        """The provided synthetic queries, and possibly training examples; None if an LLM is to write queries."""
        provided = self.provided
        if not provided.brings_queries:
            return None
        if self.kept is not None:
            return ProvidedQueries.read(self._sealed, has_examples=provided.from_nway is not None)
        files = provided.files
        if provided.from_nway is not None:
            return ProvidedQueries.of_examples(files["from_nway"], self.corpus, files.get("from_queries"))
        return ProvidedQueries.of_queries(files["from_queries"], self.corpus, self.parents)

    @cached_property
    def has_rated_examples(self) -> bool:
        """True if the provided training examples have scores; reads no documents."""
        if self.provided.from_nway is None:
            return False
        return are_rated(self.provided.files["from_nway"] if self.kept is None else self._sealed(EXAMPLES))

    @cached_property
    def first_stage(self) -> Path | None:
        """The TREC run to compare with, as provided or as stored; None if there is none."""
        if self.provided.first_stage is None:
            return None
        return self.provided.files["first_stage"] if self.kept is None else self._sealed(FIRST_STAGE)

    @cached_property
    def unjudged_log(self) -> QueryLog:
        """The log queries without judgments, which may be shown in prompts, used for choosing, and trained on."""
        judged = (*self.labels.choosing.queries, *self.labels.measuring.queries)
        return QueryLog(self.log.unlike(query.text for query in judged))

    def files(self) -> CorpusFiles:
        """The stored files of documents and passages."""
        documents, corpus = self.documents.path, self.corpus.path
        assert documents
        assert corpus
        return CorpusFiles(documents.name, corpus.name)

    def remove_others(self, kept: CorpusFiles) -> None:
        """Remove the documents and passages of earlier commands, which may contain what was deleted since.

        kept: the files of the index, which are others of the same documents if only their source changed.
        """
        for path in [*self.folder.glob("corpus-*.arrow"), *self.folder.glob("passages-*.arrow")]:
            if path.name not in (*self.files(), *kept):
                path.unlink()
                path.with_name(f"{path.name}.sha256").unlink(missing_ok=True)

    @property
    def as_kept(self) -> Input:
        """A copy that reads the stored files only."""
        return replace(self, kept=self.files())

    def keep(self) -> None:
        """Store everything but the documents, which are stored when they are read."""
        if self.kept is not None:
            return
        write_jsonl(self.folder / QUERIES, _rows(self.collection))
        files = [QUERIES]
        if self.log:
            self.log.write(self.folder / LOG)
            files.append(LOG)
        if self.provided_queries:
            files += self.provided_queries.write(self.folder)
        if self.first_stage:
            write_run(self.folder / FIRST_STAGE, read_run(self.first_stage), tag="first-stage")
            self.first_stage = self.folder / FIRST_STAGE
            files.append(FIRST_STAGE)
        for name in files:
            seal(self.folder / name)
        for name in {LOG, FIRST_STAGE, *PROVIDED_FILES}.difference(files):
            for path in self.folder.glob(f"{name}*"):  # left by an earlier command
                path.unlink()

    def _sealed(self, name: str) -> Path:
        path = self.folder / name
        if not is_sealed(path):
            how = f"read the documents again with: {command('adapt', 'CORPUS', '--out', self.folder.parent)}"
            raise DataError(f"not what the run kept (damaged, or removed); {how}", path=path)
        return path

    def pairs(self, source: str) -> list[PromptExample]:
        """(query, document) pairs from a file, or for `train` from the collection's training queries.

        Raises SettingError if there are none.
        """
        if source != "train":
            pairs = read_prompt_examples(Path(source), self.documents)
            if all(pair.doc_id for pair in pairs):
                return pairs
            ids = {doc.default_text().strip(): doc.doc_id for doc in self.documents.values()}
            return [pair if pair.doc_id else pair._replace(doc_id=ids.get(pair.document, "")) for pair in pairs]
        queries = {query.query_id: query.text for query in self.collection.queries}
        judged = [qrel for qrel in self.collection.qrels.get("train", []) if qrel.relevance > 0]
        if not judged:
            raise SettingError(f"sample.examples is train, and {self.name} has no training judgments; expected a file")
        return [
            PromptExample(
                qrel.query_id, qrel.doc_id, queries[qrel.query_id], self.documents[qrel.doc_id].default_text()
            )
            for qrel in judged
        ]


def _rows(collection: Collection) -> Iterator[dict[str, Any]]:
    """One row per query, with its judgments by split as lists of document, grade and iteration."""
    judged: dict[str, dict[str, list[Any]]] = {}
    for split, qrels in collection.qrels.items():
        for qrel in qrels:
            judgment = [qrel.doc_id, qrel.relevance, qrel.iteration]
            judged.setdefault(qrel.query_id, {}).setdefault(split, []).append(judgment)
    for query in collection.queries:
        yield {"_id": query.query_id, "text": query.text, "qrels": judged.get(query.query_id, {})}


def _read(path: Path) -> tuple[list[Query], dict[str, list[Qrel]]]:
    """Queries, and judgments by split, as written by `Input.keep`."""
    queries: list[Query] = []
    qrels: dict[str, list[Qrel]] = {}
    for _, row in read_jsonl(path):
        queries.append(Query(row["_id"], row["text"]))
        for split, judgments in row["qrels"].items():
            qrels.setdefault(split, []).extend(Qrel(row["_id"], *judgment) for judgment in judgments)
    return queries, qrels
