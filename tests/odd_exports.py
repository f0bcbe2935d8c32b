"""Export sources with odd documents: hostile texts, odd ids, ties, passages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from acclimate.corpus.documents import Corpus
from acclimate.deploy.exports.source import Source
from acclimate.records import Doc, Query
from acclimate.search.bm25 import BM25
from acclimate.search.members import BM25Member, DenseMember, Ids, LateInteractionMember, SparseMember
from acclimate.search.names import SystemName
from acclimate.search.sparse import SparseIndex
from acclimate.search.sparse_query import SparseQuery
from acclimate.search.static import StaticQuery
from acclimate.search.systems import system_of
from acclimate.search.vectors import encode_corpus
from acclimate.search.views import Views

TEXTS = {
    "plain": "Molten rock below the crust rises and erupts as lava, ash and gas.",
    "Plain": "Molten rock below the crust rises and erupts as lava, ash and gas.",  # a tie, and ids that differ by case
    "PLAIN": "A river of snow creeps downhill.",
    "nul": "lava \0 and ash \0 after a zero byte",
    "nul\0id": "an id with a zero byte, and lava",
    "tab\tid": "tabs\tand\nnew\r\nlines\vof\fall\x1ckinds\u2028of lava",
    "back\\slash": "C:\\temp \\. \\N \\n \\\\ E'\\x41' lava",
    "\\N": "\\N",
    "\\.": "\\.\n\\.",
    "quote'id": "it's \"quoted\"; drop table documents; -- lava",
    '"': "$$ lava $$ $body$ $1 %s %(name)s {lava} {{ash}} :name ?",
    "a/b c%d_e": "<script>alert('lava')</script> &amp; ]]> <!-- ash",
    " ": "an id that is a blank, snow",
    "naïve-é-日本": "火山が噴火すると溶岩と灰が出る。 naïve café lava",
    "emoji-🌋": "🌋🔥 lava \u202everkehrt\u202c \u200bzero\u200bwidth \ufeff mark",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f lava",
    "noncharacters": "\ufffe \uffff \U0010ffff lava",
    "long": "snow lava ash " * 8000,
    "a" * 500: "an id of five hundred characters, gas",
    "none": "...",
    "empty": "",
    "{\"_id\": 1}": '{"text": "lava"}',
    "dup1": "rain falls in the desert",
    "dup2": "rain falls in the desert",
    "dup3": "rain falls in the desert",
} | {f"filler{n}": f"{word} of the {other}" for n, (word, other) in enumerate(
    (word, other) for word in "lava ash snow rain rock river gas".split() for other in "moon sea sky hill coast".split()
)}  # fmt: skip
QUERIES = [
    Query(f"q{n}", text) for n, text in enumerate((
        "lava and ash", "snow", "rain in the desert", "it's \"quoted\"; drop table documents; --", "\\N \\. $1 %s",
        "火山", "nothing here knows qwertz", "...", "lava lava lava rock", "river \0 of snow", "🌋", "molten " * 100,
    ))
]  # fmt: skip
DEPTH = 30  # of candidates: fewer than there are documents
PASSAGES = {doc_id: f"whole{n % 12}" for n, doc_id in enumerate(TEXTS) if doc_id.startswith("filler")}
HYBRID: dict[str, float] = {}  # reciprocal ranks
TUNED = {"bm25": 0.2, "dense": 0.5, "late-interaction": 0.3}
EVERYTHING = {"bm25": 0.1, "dense": 0.2, "late-interaction": 0.3, "sparse:adapted": 0.2, "static:adapted": 0.2}
SYSTEMS = {
    "hybrid": HYBRID,
    "hybrid:tuned": TUNED,
    "hybrid:adapted": EVERYTHING,
    **{name: {name: 1.0} for name in EVERYTHING},
}


def expected(source: Source) -> dict[str, list[str]]:
    """Query -> the run's first ten documents."""
    texts = {query.query_id: query.text for query in QUERIES}
    lists: dict[str, list[str]] = {text: [] for text in texts.values()}
    for hit in source.search(QUERIES, 10):
        lists[texts[hit.query_id]].append(hit.doc_id)
    return lists


class Odd:
    """Members, created once; `source` returns systems made of them."""

    def __init__(self, base: Any, folder: Path, texts: Mapping[str, str] = TEXTS) -> None:
        self.texts = texts
        docs = [
            Doc(doc_id, text, "Title\t'of' \\ it" if n % 3 else "") for n, (doc_id, text) in enumerate(texts.items())
        ]
        self.corpus = Corpus.build(docs, folder / "corpus.arrow")
        self.base, self.folder = base, folder
        vectors = encode_corpus(base, self.corpus, folder / "vectors")
        bm25 = BM25.build(doc.default_text() for doc in docs)
        self.members = {
            "bm25": BM25Member(bm25),
            "dense": DenseMember(vectors, base),
            "late-interaction": LateInteractionMember(vectors, base),
            "sparse:adapted": self._sparse(len(docs)),
            "static:adapted": DenseMember(vectors, self._static()),
        }

    def _sparse(self, n_docs: int) -> SparseMember:
        import torch
        from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

        tokenizer = self.base.model.tokenizer
        rng = np.random.default_rng(0)
        weights = rng.uniform(0, 1, len(tokenizer)).astype(np.float32)
        folder = self.folder / "distill" / "sparse"
        route = folder / "query_0_SparseStaticEmbedding"
        route.mkdir(parents=True)
        SparseStaticEmbedding(tokenizer, torch.from_numpy(weights)).save(str(route))
        rows = [np.flatnonzero(rng.random(n_docs) < 0.3) for _ in weights]
        starts = np.cumsum([0, *map(len, rows)])
        values = rng.uniform(0.1, 2, starts[-1]).astype(np.float32)
        index = SparseIndex(starts, np.concatenate(rows).astype(np.int32), values, n_docs, "odd")
        return SparseMember(index, SparseQuery.open(folder))

    def _static(self) -> StaticQuery:
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding

        tokenizer, rng = self.base.model.tokenizer, np.random.default_rng(1)
        table = rng.normal(size=(len(tokenizer), 32)).astype(np.float32)
        folder = self.folder / "distill" / "static"
        route = folder / "query_0_StaticEmbedding"
        route.mkdir(parents=True)
        StaticEmbedding(tokenizer, embedding_weights=table).save(str(route))
        return StaticQuery.open(folder)

    def source(self, name: str) -> Source:
        """The system of that name in `SYSTEMS`; with the suffix "of passages" some documents are passages."""
        name, _, of_passages = name.partition(" of ")
        parents = PASSAGES if of_passages else {}
        settings = {"index": {"max_tokens": 64, "query_prompt": "auto", "language": "en"}}
        run: Any = SimpleNamespace(
            base=SimpleNamespace(encoder=self.base),
            input=SimpleNamespace(corpus=self.corpus, parents=parents),
            settings=settings,
            seed=0,
        )
        outputs: Any = {"distill": SimpleNamespace(folder=self.folder / "distill")}
        source = Source(run, outputs, SystemName(name))
        ids = Ids(self.corpus.ids, parents)
        system = replace(system_of(ids, self.members, SYSTEMS[name], Views()), depth=DEPTH)
        source.__dict__.update({"system": system, "queries": QUERIES})
        return source
