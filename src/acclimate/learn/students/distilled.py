"""The students that `distill` left: their indexes, and the members that they are in systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.base.progress import Progress
from acclimate.corpus.documents import Corpus
from acclimate.search.names import KINDS_WITHOUT_BASE, SystemName

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder
    from acclimate.search.members import Member
    from acclimate.search.vectors import Vectors


@dataclass(frozen=True)
class Distilled:
    """Students in a folder."""

    folder: Path
    notes: Mapping[str, Any]  # kind -> how its training went
    vectors: Vectors  # the base's
    corpus: Corpus
    max_tokens: int  # of a text
    max_active_dims: int  # of a document in a sparse index

    def index(self) -> dict[str, Any]:
        """Index the corpus with each student whose documents are not the base's. Returns the notes, with what it found.

        Vectors go into `folder/KIND-vectors` (cut ones: `KIND-cut`), sparse ones into `folder/sparse-index` and, as the
        student started, `folder/sparse-start-index`.
        """
        from acclimate.search.vectors import Vectors, cut_vectors, encode_corpus

        found: dict[str, Any] = {}
        for kind, note in self.notes.items():
            found[kind] = dict(note)
            if kind == "sparse":
                names = ["sparse-start", *([] if note["keeps_index"] else [kind])]
                found[kind]["active_dims"] = {name: self._index_sparse(name) for name in names}
            elif not note["keeps_index"]:
                student, progress = self._student(kind), Progress("distill", "documents indexed")
                into = self.folder / f"{kind}-vectors"
                encode_corpus(student, self.corpus, into, key=student.fingerprint, progress=progress)
            if note.get("dim"):
                whole = self.vectors if note["keeps_index"] else Vectors.open(self.folder / f"{kind}-vectors")
                cut_vectors(whole, note["dim"], self.folder / f"{kind}-cut")
        return found

    def _index_sparse(self, name: str) -> float:
        """Active dimensions of documents, on average, of the sparse student in `folder/name`."""
        from acclimate.learn.students.sparse import load_head
        from acclimate.search.sparse import build

        head, n_vocabulary = load_head(self.folder / name)
        most, into = self.max_active_dims, self.folder / f"{name}-index"
        progress = Progress("distill", "documents indexed")
        index = build(self.vectors, head, n_vocabulary, into, max_active_dims=most, progress=progress)
        return round(index.active_dims, 1)

    def members(self) -> dict[str, Member]:
        """The members that `distill` trained, as `KIND:adapted`; sparse and static ones also as they started."""
        from acclimate.search.encoder import Cut
        from acclimate.search.members import DenseMember, LateInteractionMember
        from acclimate.search.vectors import Vectors

        members: dict[str, Member] = {}
        for kind, note in self.notes.items():
            if kind in KINDS_WITHOUT_BASE:
                start = f"{kind}-start"
                members[kind] = self._made_member(start, start)
                members[SystemName(kind).adapted()] = self._made_member(kind, start if note["keeps_index"] else kind)
                continue
            student, dim = self._student(kind), note.get("dim", 0)
            vectors = self.vectors if note["keeps_index"] else Vectors.open(self.folder / f"{kind}-vectors")
            if kind == "late-interaction":
                members[SystemName(kind).adapted()] = LateInteractionMember(vectors, student)
            elif dim:
                members[SystemName(kind).adapted()] = DenseMember(
                    Vectors.open(self.folder / f"{kind}-cut"), Cut(student, dim)
                )
            else:
                members[SystemName(kind).adapted()] = DenseMember(vectors, student)
        return members

    def _made_member(self, name: str, documents: str) -> Member:
        """A sparse or static member with the queries of `folder/name`, over the index of `documents`."""
        from acclimate.learn.students import sparse, static
        from acclimate.search.members import DenseMember, SparseMember
        from acclimate.search.sparse import SparseIndex

        if name.startswith("static"):
            return DenseMember(self.vectors, static.load_query(self.folder / name))
        return SparseMember(SparseIndex.open(self.folder / f"{documents}-index"), sparse.load_query(self.folder / name))

    def _student(self, kind: str) -> Encoder:
        from acclimate.search.encoder import Encoder

        return Encoder.load_student(self.folder / kind, max_tokens=self.max_tokens)
