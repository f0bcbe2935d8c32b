"""Trained students, with their indexes, as members of systems.

A student is a folder `KIND` that sentence-transformers loads. Sparse and static students, whose kinds no base has, also
have a folder `KIND-start` with their untrained state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.base.digests import folder_fingerprint
from acclimate.base.lazy import Lazy
from acclimate.base.progress import Progress
from acclimate.corpus.documents import Corpus
from acclimate.search import approximate
from acclimate.search.names import KINDS_WITHOUT_BASE, SystemName

if TYPE_CHECKING:
    from acclimate.search.encoded import QueryEncoder
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import Member
    from acclimate.search.vectors import Vectors


def own_dense_vectors(indexes: Path) -> Path | None:
    """The dense student's own vectors in a folder of indexes; None if it uses the base's."""
    folders = (indexes / f"dense-{name}" for name in ("cut", "vectors"))
    return next((folder for folder in folders if folder.is_dir()), None)


@dataclass(frozen=True)
class Students:
    """The students in a folder."""

    folder: Path
    notes: Mapping[str, Any]  # kind -> notes on its training
    base_vectors: Callable[[], Vectors]  # opened on first use
    corpus: Corpus
    max_tokens: int  # of a text
    max_active_dims: int  # of a document in a sparse index
    index_folder: Path | None = None  # folder of their indexes; None: the students' own

    @property
    def indexes(self) -> Path:
        """The folder of the indexes."""
        return self.index_folder or self.folder

    def index(self) -> dict[str, Any]:
        """Build the indexes of students that encode documents differently from the base; returns extended notes.

        Vectors go to `folder/KIND-vectors` (truncated ones to `KIND-cut`), sparse indexes to `folder/sparse-index` and,
        for the untrained state, `folder/sparse-start-index`.
        """
        from acclimate.search.vectors import cut_vectors, encode_corpus

        notes = {kind: dict(note) for kind, note in self.notes.items()}
        for kind, note in notes.items():
            if kind == "sparse":
                names = ["sparse-start", *([] if note["keeps_index"] else [kind])]
                note["active_dims"] = {name: self._index_sparse(name) for name in names}
            elif not note["keeps_index"]:
                maker, progress = self._maker(kind), Progress("distill", "documents indexed")
                folder = self.indexes / f"{kind}-vectors"
                tokens_as = self.base_vectors().token_format if kind == "late-interaction" else None
                encode_corpus(maker(), self.corpus, folder, tokens_as=tokens_as, maker=maker, progress=progress)
            if note.get("dim"):
                cut_vectors(self.vectors(kind), note["dim"], self.indexes / f"{kind}-cut")
        if (folder := own_dense_vectors(self.indexes)) is not None:
            progress = Progress("distill", "vectors in the approximate index")
            approximate.index(folder, is_wanted=self.base_vectors().approximate is not None, progress=progress)
        return notes

    def _index_sparse(self, name: str) -> float:
        """Index the sparse student in `folder/name`; returns the mean number of active dimensions."""
        from acclimate.search.sparse import Head, build

        head, n_vocabulary = Head.open(self.folder / name)
        most, folder = self.max_active_dims, self.indexes / f"{name}-index"
        progress = Progress("distill", "documents indexed")
        index = build(self.base_vectors(), head, n_vocabulary, folder, max_active_dims=most, progress=progress)
        return round(index.active_dims, 1)

    def members(self) -> Lazy[Member]:
        """The students as members named `KIND:adapted`; sparse and static ones also untrained."""
        makers: dict[str, Callable[[], Member]] = {}
        for kind in self.notes:
            if kind in KINDS_WITHOUT_BASE:
                makers[kind] = partial(self._member, kind, is_start=True)
            makers[SystemName(kind).adapted()] = partial(self._member, kind)
        return Lazy(makers)

    def _member(self, kind: str, *, is_start: bool = False) -> Member:
        from acclimate.search.encoded import Cut
        from acclimate.search.members import DenseMember, LateInteractionMember, SparseMember
        from acclimate.search.sparse import SparseIndex
        from acclimate.search.sparse_query import SparseQuery
        from acclimate.search.static import StaticQuery
        from acclimate.search.vectors import Vectors

        note, name = self.notes[kind], f"{kind}-start" if is_start else kind
        if kind == "static":
            return DenseMember(self.base_vectors(), StaticQuery.open(self.folder / name))
        if kind == "sparse":
            documents = f"{kind}-start" if note["keeps_index"] else name
            index = SparseIndex.open(self.indexes / f"{documents}-index")
            return SparseMember(index, SparseQuery.open(self.folder / name))
        encoder = self._query_encoder(kind)
        if kind == "late-interaction":
            return LateInteractionMember(self.vectors(kind), encoder)
        if dim := note.get("dim", 0):
            return DenseMember(Vectors.open(self.indexes / f"{kind}-cut"), Cut(encoder, dim))
        return DenseMember(self.vectors(kind), encoder)

    def vectors(self, kind: str) -> Vectors:
        """The document vectors that a student compares with: the base's or its own."""
        from acclimate.search.vectors import Vectors

        return (
            self.base_vectors() if self.notes[kind]["keeps_index"] else Vectors.open(self.indexes / f"{kind}-vectors")
        )

    def _query_encoder(self, kind: str) -> QueryEncoder:
        """A student's query encoder; reads just the files that this needs, if possible."""
        from acclimate.search import query_side

        folder = self.folder / kind
        weights = partial(folder_fingerprint, folder)
        return query_side.load_query_side(folder, weights, max_tokens=self.max_tokens) or self.encoder(kind)

    def encoder(self, kind: str) -> Encoder:
        """A student that also encodes documents, if its index is its own."""
        return self._maker(kind)()

    def _maker(self, kind: str) -> Callable[[], Encoder]:
        """Loads the student, in this process or another."""
        from acclimate.search.encoder import Encoder

        return partial(Encoder.load_student, self.folder / kind, max_tokens=self.max_tokens)
