"""Which documents queries are written for, and which of them are held out.

Every choice hashes the seed and the doc's own id, so that the order of the corpus cannot matter and, but for the method
diverse, one added or removed changes no other's fate: one more is drawn, or another's place is taken. The method first
takes them in the order of the corpus, as InPars v1 does. Documents with
equal text are one document here: only the first by id is drawn. One that is nearly the text of a drawn one is passed
over, so no text is on both sides of a split.

A share of them may be windows: drawn by length, and read from anywhere in them.

Where documents are few, sides that chance left without any get some.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np

from acclimate.base.digests import fingerprint
from acclimate.base.domains import Above, AtLeast, Between, OneOf
from acclimate.base.draw import uniform
from acclimate.base.errors import SettingError
from acclimate.base.files import read_json, read_jsonl, write_json, write_jsonl
from acclimate.base.progress import Progress
from acclimate.base.words import length_of, normalized
from acclimate.corpus.diverse import draw_diverse
from acclimate.corpus.doc_ids import ascending
from acclimate.corpus.documents import ids_of
from acclimate.corpus.drawing import in_order
from acclimate.corpus.near_duplicates import DistinctTexts
from acclimate.corpus.sides import Side, sides_of
from acclimate.llm.windows import from_window, window_start
from acclimate.records import Doc, PromptExample
from acclimate.run.output import Account, StageOutput
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked
from acclimate.stages.index import Indexed

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHODS = ("uniform", "diverse", "first")
REASONS = ("short", "duplicate", "example of a prompt", "near duplicate", "source is full", "not drawn")


class Sample(NamedTuple):
    """The drawn docs, by id, each with the side its queries will be on; and the examples for prompts."""

    splits: dict[str, Side]
    dropped: dict[str, int]
    examples: list[PromptExample]
    windows: dict[str, int]  # where those that are read from a window are read from: a character of their text

    def docs(self, corpus: Mapping[str, Doc]) -> list[Doc]:
        """The drawn docs, as an LLM reads them."""
        return [from_window(corpus[doc_id], self.windows) for doc_id in self.splits]


@checked
def sample(
    corpus: Mapping[str, Doc],
    test_share: float = 0.0,
    pairs: Callable[[str], Sequence[PromptExample]] = lambda source: (),
    vectors: Callable[[], NDArray[np.float32]] | None = None,
    parents: Mapping[str, str] = MappingProxyType({}),
    *,
    n_docs: Annotated[int, AtLeast(1)] = 1000,
    method: Annotated[str, OneOf(METHODS)] = "uniform",
    n_clusters: Annotated[int, AtLeast(0)] = 0,
    windows: Annotated[float, Between(0, 1)] = 0.5,
    length_power: Annotated[float, Between(0, 4)] = 1.0,
    min_chars: Annotated[int, AtLeast(0)] = 80,
    max_per_source: Annotated[int, AtLeast(0)] = 0,
    near_duplicates: Annotated[float, Above(0, 1)] = 0.9,
    dev_share: Annotated[float, Between(0, 1)] = 0.15,
    examples: str = "",
    n_examples: Annotated[int, Between(1, 1000)] = 3,
    seed: int = 0,
) -> Sample:
    """Sample the documents to write queries for.

    None is drawn twice. `test_share` of them are held out to measure on, where there are no labelled queries. `pairs`
    has what `examples` names. The documents of the examples that are drawn get no query of their own. `vectors` gives a
    vector of unit length for each document of the corpus, in its order; only the method diverse asks for them.
    `parents` has the document of each passage, where there are passages: those of one document are on one side of a
    split.

    Parameters
    ----------
    n_docs
        Number of documents to write queries for; all documents if the corpus has fewer.
    method
        Sampling method: uniform (all documents equally likely), diverse (some documents from each cluster of the base
        encoder's vectors, as in DUQGen) or first (no sampling: the first documents in corpus order, as in InPars v1).
    n_clusters
        diverse: number of clusters; 0 uses one per sampled document, at most 1,000, as in DUQGen.
    windows
        Share of the documents that are sampled by length and read from the start of a random sentence; the others are
        sampled uniformly and read from their beginning.
    length_power
        windows: a document's probability is proportional to its length to this power; 0 makes all equally likely.
    min_chars
        Skip documents with fewer characters; a Chinese, Japanese or Korean character counts as three.
    max_per_source
        Sample at most this many passages per document, or files per folder; 0 for no limit.
    near_duplicates
        Skip a document whose Jaccard similarity (three-word shingles) to a sampled one reaches this value; 1 skips only
        equal texts.
    dev_share
        Share of the documents whose queries are held out to choose teachers and weights and to decide when to stop
        training.
    examples
        Query-document pairs that few-shot prompts such as promptagator show to the LLM: a JSON Lines file with query
        and document (or doc_id), or train for the collection's own training queries.
    n_examples
        Number of these pairs to show. They are excluded from training and evaluation.
    """
    differs = DistinctTexts(near_duplicates) if near_duplicates != 1 else None
    shown = drawn_examples(pairs(examples) if examples else (), n_examples, seed)
    taken = {example.doc_id for example in shown} | {_key(example.document) for example in shown}
    dropped: dict[str, int] = dict.fromkeys(REASONS, 0)
    doc_ids = ids_of(corpus)
    rows, keys, lengths = array("q"), bytearray(), array("q")  # of those that may be drawn
    for row, doc in enumerate(corpus.values()):
        length = length_of(doc.default_text().strip())
        if length < min_chars:
            dropped["short"] += 1
            continue
        key = text_key(doc)
        if parents.get(doc.doc_id, doc.doc_id) in taken or key in taken:
            dropped["example of a prompt"] += 1
            continue
        rows.append(row)
        keys += key
        lengths.append(length)
    ranks = np.empty(len(doc_ids), np.int64)
    ranks[ascending(doc_ids)] = np.arange(len(doc_ids))
    able = np.frombuffer(rows, np.int64)
    chosen = _one_of_each(keys, able if method == "first" else ranks[able])
    dropped["duplicate"] = len(able) - len(chosen)
    chosen = chosen[np.argsort(ranks[able[chosen]])]
    able, lengths = able[chosen], np.frombuffer(lengths, np.int64)[chosen]
    drawing = in_order((doc_ids[row] for row in able), lengths, seed, windows=windows, length_power=length_power)
    if method == "first":
        drawing = drawing.select(np.argsort(able[drawing.places]))
    candidates = able[drawing.places]  # their rows
    of_source: Counter[str] = Counter()

    def accepts(place: int) -> bool:
        """Whether this candidate may be drawn, which it then is."""
        doc_id = doc_ids[candidates[place]]
        source = parents.get(doc_id) or doc_id.rpartition("/")[0] or doc_id
        if max_per_source and of_source[source] == max_per_source:
            dropped["source is full"] += 1
        elif differs is not None and not differs.add(corpus[doc_id].default_text()):
            dropped["near duplicate"] += 1
        else:
            of_source[source] += 1
            return True
        return False

    if method != "diverse" or len(candidates) <= n_docs:  # all of them come: nothing to choose
        places = list(islice(filter(accepts, range(len(candidates))), n_docs))
    else:
        if vectors is None:
            raise SettingError("sample.method is diverse, which needs vectors of the documents; expected uniform")
        places = draw_diverse(
            candidates,
            drawing.luck,
            drawing.weights,
            vectors(),
            accepts,
            n_docs=n_docs,
            n_clusters=n_clusters,
            seed=seed,
        )
    dropped["not drawn"] = len(candidates) - len(places) - dropped["near duplicate"] - dropped["source is full"]
    drawn = {doc_ids[candidates[place]]: bool(drawing.for_window[place]) for place in places}
    document = {doc_id: parents.get(doc_id, doc_id) for doc_id in drawn}
    draws = {document_id: uniform(seed, "side", document_id) for document_id in document.values()}
    sides = sides_of(draws, dev_share, test_share)
    splits: dict[str, Side] = {doc_id: sides[document_id] for doc_id, document_id in document.items()}
    for_windows = [doc_id for doc_id, for_window in drawn.items() if for_window]
    starts = {doc_id: window_start(corpus[doc_id].text, uniform(seed, "start", doc_id)) for doc_id in for_windows}
    return Sample(splits, dropped, shown, starts)


def _one_of_each(keys: bytearray, precedence: NDArray[np.int64]) -> NDArray[np.int64]:
    """One place for each key, 16 bytes, of those with equal ones that of the least precedence."""
    halves = np.frombuffer(keys, np.uint64).reshape(-1, 2)
    order = np.lexsort((precedence, halves[:, 1], halves[:, 0]))
    halves = halves[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (halves[1:] != halves[:-1]).any(axis=1)
    return order[is_first]


def drawn_examples(pairs: Sequence[PromptExample], n_examples: int, seed: int) -> list[PromptExample]:
    """So many of the pairs, no query and no document twice, in an order that follows from their ids and the seed."""
    chosen: list[PromptExample] = []
    seen: set[bytes] = set()
    for pair in sorted(pairs, key=lambda pair: (uniform(seed, "example", pair.query_id), pair.query_id, pair.doc_id)):
        keys = {_key(pair.query), _key(pair.document)}
        if len(chosen) < n_examples and not keys & seen:
            chosen.append(pair)
            seen |= keys
    return chosen


def text_key(doc: Doc) -> bytes:
    """Equal for documents whose texts are the same once they are normalized."""
    return _key(doc.default_text())


def _key(text: str) -> bytes:
    return hashlib.blake2b(normalized(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Sampled(StageOutput):
    """The documents that queries are written for."""

    stage = "sample"

    @cached_property
    def splits(self) -> dict[str, Side]:
        """Drawn document -> the side that it is on."""
        return read_json(self.folder / "splits.json")

    @cached_property
    def examples(self) -> list[PromptExample]:
        """What prompts show of the task itself."""
        path = self.folder / "examples.jsonl"
        return [PromptExample(**row) for _, row in read_jsonl(path)] if path.exists() else []

    @cached_property
    def windows(self) -> dict[str, int]:
        """Drawn document -> the character of its text that it is read from; only those that are read from a window."""
        path = self.folder / "windows.json"
        return read_json(path) if path.exists() else {}

    def docs(self, corpus: Mapping[str, Doc]) -> list[Doc]:
        """The drawn documents, as an LLM reads them."""
        return [from_window(corpus[doc_id], self.windows) for doc_id in self.splits]

    @property
    def shown(self) -> set[str]:
        """The queries that an LLM sees as examples, normalized: they measure nothing and choose nothing."""
        return {normalized(example.query) for example in self.examples}


def make(run: Run, indexed: Indexed) -> Sampled:
    """Sample the documents to write queries for."""
    test_share = run.input.labels.test_share

    def work(folder: Path, progress: Progress) -> Account:
        drawn = sample(
            run.input.corpus,
            test_share,
            run.input.pairs,
            lambda: run.base.vectors.pooled,
            run.input.parents,
            seed=run.seed,
            **run.settings["sample"],
        )
        write_json(folder / "splits.json", drawn.splits)
        if drawn.windows:
            write_json(folder / "windows.json", drawn.windows)
        if drawn.examples:
            write_jsonl(folder / "examples.jsonl", (example._asdict() for example in drawn.examples))
        return Account(len(run.input.corpus), len(drawn.splits), drawn.dropped)

    inputs = {DOCUMENTS: run.input.corpus.fingerprint, "test_share": str(test_share)}
    if source := run.settings["sample"]["examples"]:
        inputs["examples"] = fingerprint(run.input.pairs(source))
    if run.settings["sample"]["method"] == "diverse":
        inputs["index"] = indexed.fingerprint
    elif run.settings["sample"]["method"] == "first":
        inputs["order"] = run.input.corpus.ids.fingerprint
    return run.make(Sampled, work, inputs=inputs, unit="documents")


def foreseen(run: Run, docs: Mapping[str, Doc], test_share: float, **changes: Any) -> Sample:
    """What would be drawn of these documents with some settings changed, told without an index."""
    settings = {**run.settings["sample"], "method": "uniform", **changes}  # as many, without the vectors of diverse
    return sample(docs, test_share, run.input.pairs, parents=run.input.parents, seed=run.seed, **settings)
