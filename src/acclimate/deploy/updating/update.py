"""Update the documents that a run searches, without training anything.

Unchanged rows are copied, new documents are encoded by the base and the students, and BM25 is recomputed from stored
term counts. The new indexes are written beside the old ones, then a single file switches to them, so a kill at any
moment leaves either the old or the new. The previous indexes stay until the next update for processes that still read
them.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.base import distributed
from acclimate.base.arguments import StrPath, path_text
from acclimate.base.digests import fingerprint
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import atomic_folder, make_folder, sweep, tidied_above
from acclimate.base.text import columns, counted, on_one_line
from acclimate.corpus import collections
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats import extraction
from acclimate.deploy.updating.changes import Changes, Rows, read_ids
from acclimate.deploy.updating.drift import drift, sentences
from acclimate.records import Doc
from acclimate.report import assemble
from acclimate.report.plan import files_dropped
from acclimate.run import in_memory
from acclimate.run.in_memory import Documents
from acclimate.run.input import CorpusFiles
from acclimate.run.manifests import versions
from acclimate.run.run import Run
from acclimate.run.updated import FOLDER, MANIFEST, TERMS, LastUpdate
from acclimate.search.term_counts import TermCounts
from acclimate.stages.chain import Outputs
from acclimate.stages.runs import EarlierVersion, index_fingerprints, load_run, open_latest, open_run

_CORPUS = "update-{}.arrow"  # in the corpus folder; passages beside it
_SHOWN = 10  # ids of a kind that a plan lists
_AS_SHOWN = {"came": "added", "changed": "changed", "went": "removed"}


@dataclass(frozen=True)
class Updated:
    """The result of an update.

    >>> sorted(acclimate.Updated.__dataclass_fields__)
    ['changes', 'documents', 'drift', 'drifted', 'seconds', 'since']
    """

    documents: int  # searched now
    changes: dict[str, int]  # documents that came, changed and went by this update
    since: dict[str, int]  # the same since the run was made
    drift: dict[str, Any]  # figures, see `deploy.updating.drift`
    drifted: list[str]  # sentences on those that suggest adapting again
    seconds: float

    def __str__(self) -> str:
        """Lines for a terminal."""
        if not any(self.changes.values()):
            return f"No changes: {counted(self.documents, 'document')}."
        first = f"{counted(self.documents, 'document')}: {_counts(self.changes)}   {self.seconds:.1f}s"
        return "\n".join([first, f"Since the run was made: {_counts(self.since)}", *self.drifted])


def update(folder: Path, new: StrPath | Documents | None, remove: StrPath | None, *, replaces: bool) -> Updated:
    """Update a run's documents and rewrite its report.

    new: a collection, in any form that `adapt` accepts. remove: a file of ids. replaces: remove documents that are not
    in `new`. Raises SettingError if neither is given, DataError for unreadable files.
    """
    with load_run(folder).workspace.lock():
        updated = _update(folder, new, remove, replaces)
        if any(updated.changes.values()) or not _is_reported(folder):
            with suppress(EarlierVersion):  # has a report that this version cannot write
                assemble.write(*open_run(folder, "evaluate"))
    return updated


def _is_reported(folder: Path) -> bool:
    """False if the last update is newer than the report, as its process was killed between the two."""
    update, report = folder / FOLDER / MANIFEST, folder / assemble.PAGE
    return not update.is_file() or (report.is_file() and update.stat().st_mtime_ns <= report.stat().st_mtime_ns)


def plan(folder: Path, new: StrPath | Documents | None, remove: StrPath | None, *, replaces: bool) -> str:
    """The documents that `update` with the same arguments would add, change and remove. Raises what it would raise."""
    now, _ = open_latest(folder)
    with tempfile.TemporaryDirectory() as scratch:
        changes = _changes(now, new, remove, replaces, Path(scratch))
        dropped = changes.new.dropped if isinstance(changes.new, Corpus) else {}
        rows = [[_AS_SHOWN[name], doc_id] for name, doc_ids in changes.by_kind.items() for doc_id in _some(doc_ids)]
        first = f"{counted(len(now.input.documents), 'document')}: {_counts(changes.counts)}. Nothing was updated."
        return "\n".join([first, *columns(rows, "<<"), *files_dropped(dropped)])


def _counts(changes: Mapping[str, int]) -> str:
    return " · ".join(f"{_AS_SHOWN[name]} {count:,}" for name, count in changes.items())


def _some(doc_ids: Set[str]) -> list[str]:
    """The first ids, and how many more there are."""
    more = [f"... and {len(doc_ids) - _SHOWN:,} more"] if len(doc_ids) > _SHOWN else []
    return [*map(on_one_line, sorted(doc_ids)[:_SHOWN]), *more]


def _changes(
    now: Run, new: StrPath | Documents | None, remove: StrPath | None, replaces: bool, scratch: Path
) -> Changes:
    """The changes to the documents of a run; new ones are read into `scratch`."""
    if new is None and remove is None:
        raise SettingError("nothing to update; expected documents, or ids to remove with --remove")
    if new is None and replaces:
        raise SettingError("--all: expected the documents that replace those of the run")
    came = dict[str, Doc]() if new is None else _read(new, scratch)
    removed = frozenset[str]() if remove is None else read_ids(Path(path_text(remove, "remove")), now.input.documents)
    changes = Changes(now.input.documents, came, removed, replaces)
    if len(removed) == len(now.input.documents) and not came:
        raise DataError(
            f"removes all {counted(len(removed), 'document')} of the run; expected some to stay",
            path=Path(remove or ""),
        )
    if replaces and isinstance(new, str | Path) and Path(new).is_dir():
        _refuse_unread(Path(new), changes.went)
    if not replaces and 0 < 2 * len(changes.absent) < len(now.input.documents):  # nearly the whole collection is given
        distributed.say("update", f"{counted(len(changes.absent), 'document')} not given, kept; to remove such: --all")
    return changes


def _refuse_unread(folder: Path, went: Set[str]) -> None:
    """Raises DataError if a document would be removed only because its file, which is there, cannot be read."""
    for path in sorted(folder.rglob("*")):
        kind = path.suffix.lower()
        if kind in extraction.FORMATS and path.relative_to(folder).as_posix() in went:
            try:
                if extra := extraction.needs(kind):
                    raise DataError(f"is read with {extra}, which is not installed", path=path)
                extraction.read(path)
            except DataError as error:
                raise DataError(
                    f"{error}; --all would remove its document: mend that, or move the file out of the folder"
                ) from None


def _read(new: StrPath | Documents, scratch: Path) -> Corpus:
    name = in_memory.name_of(new, scratch, "newdocs")
    in_memory.write(new, name)
    return collections.load(name, scratch).corpus


def _update(folder: Path, new: StrPath | Documents | None, remove: StrPath | None, replaces: bool) -> Updated:
    started = time.monotonic()
    now, outputs = open_latest(folder)
    sweep(folder / FOLDER)
    scratch = folder / FOLDER / ".read.part"  # removed by the next command if this one is killed
    with tidied_above(scratch):
        make_folder(scratch)
        try:
            changes = _changes(now, new, remove, replaces, scratch)
            if any(changes.counts.values()):
                return _apply(folder, now, outputs, changes, started)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    update = LastUpdate.read(folder)
    since = update.since if update else dict.fromkeys(changes.counts, 0)
    return Updated(len(now.input.documents), changes.counts, since, {}, [], time.monotonic() - started)


def _apply(folder: Path, now: Run, outputs: Outputs, changes: Changes, started: float) -> Updated:
    from acclimate.deploy.updating.indexes import index

    documents, corpus, rows = _corpora(now, changes)
    assert documents.path
    assert corpus.path
    kept = CorpusFiles(documents.path.name, corpus.path.name)
    stages = index_fingerprints(outputs)
    order = corpus.ids.fingerprint  # rows of the indexes are positions in it
    name = fingerprint(stages, corpus.fingerprint, order, kept)[:16]
    distilled = outputs.get("distill")
    if not (folder / FOLDER / name).is_dir():
        with atomic_folder(folder / FOLDER / name) as partial:
            index(now, distilled, _Selection(corpus, rows.fresh), rows.rows, partial)
    before, _ = open_run(folder, "evaluate")
    since = Changes(before.input.documents, documents, replaces=True)
    after, _ = open_run(folder, "evaluate")
    after.updated_folder, after.kept = folder / FOLDER / name, kept
    others = since.came | since.changed
    searched = after.input.parents
    came = [doc_id for doc_id in corpus.ids if searched.get(doc_id, doc_id) in others]
    counts, only_more = TermCounts.open(folder / FOLDER / name / TERMS), not since.changed | since.went
    counts = counts.concat(_counts_before(before, since.changed | since.went))
    figures = drift(before, outputs, after, came, counts, only_more=only_more)
    drifted = sentences(figures)
    facts = {
        "folder": name,
        "kept": kept._asdict(),
        "made_of": stages,
        "documents": len(documents),
        "since": since.counts,
        "drift": figures,
        "drifted": drifted,
        "versions": versions(),
    }
    earlier = LastUpdate.read(folder)
    last = LastUpdate.write(folder, facts)
    _remove_old(folder, last, earlier)
    distributed.say("update", f"{counted(len(documents), 'document')} after the update")
    seconds = round(time.monotonic() - started, 3)
    return Updated(len(documents), changes.counts, since.counts, figures, drifted, seconds)


def _counts_before(before: Run, doc_ids: Set[str]) -> TermCounts:
    """The terms that these documents had when the stages were made."""
    parents, corpus = before.input.parents, before.input.corpus
    texts = (corpus[doc_id].default_text() for doc_id in corpus.ids if parents.get(doc_id, doc_id) in doc_ids)
    return TermCounts.of(texts, before.base.bm25.analyzer)


def _corpora(now: Run, changes: Changes) -> tuple[Corpus, Corpus, Rows]:
    """The documents after the change, the searched units (documents or passages), and the sources of the index rows."""
    into = now.input.folder
    fresh = changes.came | changes.changed
    others = [(*doc, changes.fields_of(doc.doc_id)) for doc in changes.new.values() if doc.doc_id in fresh]
    before = now.input.files().documents  # its name stands for all of it, fields as well
    key = fingerprint(before, sorted(changes.went), others, changes.replaces)
    path = into / _CORPUS.format(key[:16])
    documents = Corpus.build(changes.documents_with_fields(), path, source=now.source or now.collection_name)
    rows = Rows(changes, now.input)
    if not now.input.passage_words:
        corpus = documents
        for _ in rows.units(documents):
            pass
    else:
        corpus = Corpus.build(rows.units(documents), path.with_stem(f"{path.stem}-passages"), source=documents.source)
    return documents, corpus, rows


@dataclass(frozen=True)
class _Selection(Mapping[str, Doc]):
    """A selection of a corpus's documents in a given order, read on access."""

    corpus: Corpus
    doc_ids: list[str]

    def __getitem__(self, doc_id: str) -> Doc:
        return self.corpus[doc_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.doc_ids)

    def __len__(self) -> int:
        return len(self.doc_ids)


def _remove_old(folder: Path, last: LastUpdate, earlier: LastUpdate | None) -> None:
    """Remove the files of all updates but the last two."""
    current = {update.folder.name for update in (last, earlier) if update}
    for path in (folder / FOLDER).iterdir():
        if path.is_dir() and path.name not in current and not path.name.startswith("."):
            shutil.rmtree(path)
    files = {name for update in (last, earlier) if update for name in update.kept}
    for path in (folder / "corpus").glob(_CORPUS.format("*")):
        if path.name not in files:
            path.unlink()
            path.with_name(f"{path.name}.sha256").unlink(missing_ok=True)
