"""The query side of an export: encodes queries for each member of a system, from the export's folder `query` alone.

`query/members.json` has the kind of each member and the model that reads its queries. Transformers are folders beside
it, which sentence-transformers loads. `bm25.txt` has BM25's terms, one a line, numbered from 0.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acclimate.base.digests import folder_fingerprint
from acclimate.base.files import atomic_folder, read_json, read_lines, write_json, write_lines
from acclimate.corpus.analyzer import Analyzer
from acclimate.deploy.exports.postings import terms_of
from acclimate.deploy.exports.source import BM25, LATE_INTERACTION, SPARSE, Source
from acclimate.search.encoded import AUTO, Cut, Encoded, cut
from acclimate.search.members import BM25Member, Member, SparseMember

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MEMBERS, _TERMS = "members.json", "bm25.txt"
_ROUTE = "query_0_"  # prefix of the folder of a student's query route, if that is no transformer
_ANY_LENGTH = 1 << 20  # tokens: no limit beyond the model's own


class Terms(NamedTuple):
    """A query for a lexical member. A document's score is the sum over terms of this weight times the document's."""

    ids: list[int]  # ascending
    terms: list[str]
    weights: list[float]


Read = Callable[[str], "Terms | NDArray[np.float32]"]


def save(source: Source, folder: Path) -> None:
    """Write the query side of a system to a folder; one that exists is finished."""
    if folder.exists():
        return
    with atomic_folder(folder) as unfinished:
        facts: dict[str, Any] = {}
        for name in source.members:
            member = source.system.members[name]
            facts[name] = {"kind": source.kinds[name]}
            if isinstance(member, BM25Member):
                facts[name]["language"] = member.index.analyzer.language
                write_lines(unfinished / _TERMS, terms_of(member))
            else:
                facts[name] |= _save_model(source, name, member, unfinished)
        write_json(unfinished / _MEMBERS, facts)


def _save_model(source: Source, name: str, member: Member, folder: Path) -> dict[str, Any]:
    """Save the query encoder of a member, unless another member has saved it; returns how to use it."""
    from acclimate.base.loading import quiet
    from acclimate.search.encoder import Encoder
    from acclimate.search.static import StaticQuery

    kind, _, is_adapted = name.partition(":")
    model = name.replace(":", "-")
    student = source.outputs.get("distill")
    if isinstance(member, SparseMember) or isinstance(member.encoder, StaticQuery):
        assert student is not None
        (route,) = (student.folder / (kind if is_adapted else f"{kind}-start")).glob(f"{_ROUTE}*")
        shutil.copytree(route, folder / model / route.name)
        return {"model": model}
    settings = source.run.settings["index"]
    if is_adapted:
        assert student is not None
        encoder, prompt = Encoder.load_student(student.folder / kind, max_tokens=settings["max_tokens"]), AUTO
    else:
        encoder, prompt, model = source.run.base.encoder, settings["query_prompt"], "base"
    if not (folder / model).exists():
        encoder.model.max_seq_length = encoder.max_tokens
        with quiet():
            encoder.save(folder / model)
    facts = {"model": model, "prompt": None if prompt == AUTO else prompt}
    return facts | {"dim": member.encoder.dim} if isinstance(member.encoder, Cut) else facts


class QuerySide:
    """Encodes queries for the members of an exported system exactly as in the run that was exported.

    >>> side = QuerySide("exported/query")  # doctest: +SKIP
    >>> side("lava and ash")["bm25"].terms  # doctest: +SKIP
    ['ash', 'lava']
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._encode = lru_cache(maxsize=None)(self._encoder)
        self._readers = {name: self._reader(facts) for name, facts in self.members.items()}

    @property
    def members(self) -> dict[str, dict[str, Any]]:
        """Member -> its kind, and how it reads queries."""
        return read_json(self.folder / _MEMBERS)

    def __call__(self, text: str) -> dict[str, Terms | NDArray[np.float32]]:
        """For each member its terms, a unit vector (dim,) or unit token vectors (n_tokens, dim)."""
        return {name: read(text) for name, read in self._readers.items()}

    def _reader(self, facts: dict[str, Any]) -> Read:
        if facts["kind"] == BM25:
            return _bm25(Analyzer(facts["language"]), [line for _, line in read_lines(self.folder / _TERMS)])
        if facts["kind"] == SPARSE:
            return _sparse(self.folder / facts["model"])
        encode = self._encode(facts["model"], facts.get("prompt"))
        if facts["kind"] == LATE_INTERACTION:
            return lambda text: encode(text).tokens
        dim = facts.get("dim")
        return lambda text: cut(encode(text).pooled, dim) if dim else encode(text).pooled

    def _encoder(self, model: str, prompt: str | None) -> Callable[[str], Encoded]:
        """A query encoder that remembers its last query; shared by members with the same model and prompt."""
        from acclimate.search.static import StaticQuery

        folder = self.folder / model
        if any(folder.glob(f"{_ROUTE}*")):
            encoder = StaticQuery.open(folder)
        else:
            encoder = (_from_files(folder) if prompt is None else None) or _by_its_library(folder, prompt)
        return lru_cache(maxsize=1)(lambda text: encoder.encode([text])[0])


def _from_files(folder: Path) -> Any:
    """The encoder by `query_side`, without a model library; None if the model is not supported there."""
    from acclimate.search import query_side

    return query_side.load_query_side(folder, partial(folder_fingerprint, folder), max_tokens=_ANY_LENGTH)


def _by_its_library(folder: Path, prompt: str | None) -> Any:
    from acclimate.search.encoder import Encoder

    return Encoder.load(str(folder), max_tokens=_ANY_LENGTH, prompts=None if prompt is None else {"query": prompt})


def _bm25(analyzer: Analyzer, terms: list[str]) -> Read:
    numbers = {term: number for number, term in enumerate(terms) if term}  # "" marks documents without terms

    def read(text: str) -> Terms:
        counts = Counter(term for term in analyzer(text) if term in numbers)
        known = sorted(counts, key=numbers.__getitem__)
        return Terms([numbers[term] for term in known], known, [float(counts[term]) for term in known])

    return read


def _sparse(folder: Path) -> Read:
    from acclimate.search.sparse_query import SparseQuery

    query = SparseQuery.open(folder)
    vocabulary = query.vocabulary

    def read(text: str) -> Terms:
        ids, weights = query(text)
        return Terms(ids, [vocabulary[number] for number in ids], weights.tolist())

    return read
