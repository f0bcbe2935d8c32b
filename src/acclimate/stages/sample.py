"""Draw the documents that queries are written for, and split them into train, dev and test.

Every draw hashes the seed and the document's id, so the order of the corpus cannot matter, and (except with the method
diverse) adding or removing a document affects at most one other. The method first takes documents in corpus order, as
InPars v1 does. Of documents with equal text only the first by id is drawn, and near-duplicates of drawn ones are
skipped, so no text is on both sides of a split.

A share of the documents are windows: drawn by length, and read from a random sentence. In small corpora a split that
got no documents by chance is given some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from acclimate.base.words import normalized_key, query_key
from acclimate.corpus.diverse import draw_diverse
from acclimate.corpus.documents import ids_of
from acclimate.corpus.drawing import in_order
from acclimate.corpus.eligible import eligible_docs
from acclimate.corpus.near_duplicates import DistinctTexts
from acclimate.corpus.sides import Side, sides_of
from acclimate.llm import prompts
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
    """The drawn documents by id, each with its split, and the examples for prompts."""

    splits: dict[str, Side]
    dropped: dict[str, int]
    examples: list[PromptExample]
    windows: dict[str, int]  # doc_id -> character at which its window begins

    def docs(self, corpus: Mapping[str, Doc]) -> list[Doc]:
        """The drawn documents as an LLM reads them."""
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

    Each is drawn at most once. `test_share` of them are held out for measuring, if there are no labelled queries.
    `pairs` resolves `examples`; the documents of the examples drawn get no query of their own. `vectors` returns unit
    vectors of the corpus in its order, used by the method diverse only. `parents` maps passages to documents; passages
    of one document are on one side of a split.

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
    shown = draw_examples(pairs(examples) if examples else (), n_examples, seed)
    doc_ids = ids_of(corpus)
    is_first = method == "first"
    able = eligible_docs(corpus, doc_ids, parents, shown, min_chars=min_chars, first_in_corpus=is_first)
    ids = (doc_ids[row] for row in able.rows)
    drawing = in_order(ids, able.lengths, seed, windows=windows, length_power=length_power)
    if is_first:
        drawing = drawing.select(np.argsort(able.rows[drawing.places]))
    candidates = able.rows[drawing.places]  # as rows of the corpus
    admission = _Admission(corpus, parents, max_per_source, near_duplicates)

    def accepts(place: int) -> bool:
        return admission.admit(doc_ids[candidates[place]])

    if method != "diverse" or len(candidates) <= n_docs:  # all are drawn, so there is nothing to choose
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
    drawn = {doc_ids[candidates[place]]: bool(drawing.for_window[place]) for place in places}
    for_windows = [doc_id for doc_id, for_window in drawn.items() if for_window]
    starts = {doc_id: window_start(corpus[doc_id].text, uniform(seed, "start", doc_id)) for doc_id in for_windows}
    not_drawn = len(candidates) - len(places) - sum(admission.dropped.values())
    dropped = dict.fromkeys(REASONS, 0) | able.dropped | admission.dropped | {"not drawn": not_drawn}
    return Sample(_split(drawn, parents, dev_share, test_share, seed), dropped, shown, starts)


class _Admission:
    """Admits a candidate unless its source is full or it is a near-duplicate of an admitted one."""

    def __init__(
        self, corpus: Mapping[str, Doc], parents: Mapping[str, str], max_per_source: int, near_duplicates: float
    ) -> None:
        self._corpus, self._parents, self._max_per_source = corpus, parents, max_per_source
        self._distinct = DistinctTexts(near_duplicates) if near_duplicates != 1 else None
        self._of_source: Counter[str] = Counter()
        self.dropped = {"near duplicate": 0, "source is full": 0}

    def admit(self, doc_id: str) -> bool:
        """Admit this document, if it may be; returns whether it was."""
        source = self._parents.get(doc_id) or doc_id.rpartition("/")[0] or doc_id
        if self._max_per_source and self._of_source[source] == self._max_per_source:
            self.dropped["source is full"] += 1
            return False
        if self._distinct is not None and not self._distinct.add(self._corpus[doc_id].default_text()):
            self.dropped["near duplicate"] += 1
            return False
        self._of_source[source] += 1
        return True


def _split(
    doc_ids: Iterable[str], parents: Mapping[str, str], dev_share: float, test_share: float, seed: int
) -> dict[str, Side]:
    """The side of each document; passages are on the side of their document."""
    document = {doc_id: parents.get(doc_id, doc_id) for doc_id in doc_ids}
    draws = {document_id: uniform(seed, "side", document_id) for document_id in document.values()}
    sides = sides_of(draws, dev_share, test_share)
    return {doc_id: sides[document_id] for doc_id, document_id in document.items()}


def draw_examples(pairs: Sequence[PromptExample], n_examples: int, seed: int) -> list[PromptExample]:
    """Draw `n_examples` pairs, no query and no document twice, ordered by hash of seed and id."""
    chosen: list[PromptExample] = []
    seen: set[bytes] = set()
    for pair in sorted(pairs, key=lambda pair: (uniform(seed, "example", pair.query_id), pair.query_id, pair.doc_id)):
        keys = {normalized_key(pair.query), normalized_key(pair.document)}
        if len(chosen) < n_examples and not keys & seen:
            chosen.append(pair)
            seen |= keys
    return chosen


class Sampled(StageOutput):
    """The documents that queries are written for."""

    stage = "sample"

    @cached_property
    def splits(self) -> dict[str, Side]:
        """doc_id -> its split."""
        return read_json(self.folder / "splits.json")

    @cached_property
    def examples(self) -> list[PromptExample]:
        """Task examples to show in prompts."""
        path = self.folder / "examples.jsonl"
        return [PromptExample(**row) for _, row in read_jsonl(path)] if path.exists() else []

    @cached_property
    def windows(self) -> dict[str, int]:
        """doc_id -> character at which its window begins, for documents read from a window."""
        path = self.folder / "windows.json"
        return read_json(path) if path.exists() else {}

    def docs(self, corpus: Mapping[str, Doc]) -> list[Doc]:
        """The drawn documents as an LLM reads them."""
        return [from_window(corpus[doc_id], self.windows) for doc_id in self.splits]

    @property
    def shown(self) -> set[str]:
        """Keys of the queries that prompts show as examples; they are left out of choosing and measuring."""
        path = self.folder / "in_prompts.json"
        labelled = read_json(path) if path.exists() else []
        return {query_key(example.query) for example in self.examples}.union(labelled)


def make(run: Run, indexed: Indexed) -> Sampled:
    """Sample the documents to write queries for."""
    test_share, in_prompts = run.input.labels.test_share, _in_prompts(run)

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
        if in_prompts:
            write_json(folder / "in_prompts.json", in_prompts)
        return Account(len(run.input.corpus), len(drawn.splits), drawn.dropped)

    inputs = {DOCUMENTS: run.input.corpus.fingerprint, "test_share": str(test_share)}
    if source := run.settings["sample"]["examples"]:
        inputs["examples"] = fingerprint(run.input.pairs(source))
    if run.settings["sample"]["method"] == "diverse":
        inputs["index"] = indexed.fingerprint
    elif run.settings["sample"]["method"] == "first":
        inputs["order"] = run.input.corpus.ids.fingerprint
    if in_prompts:
        inputs["in prompts"] = fingerprint(in_prompts)
    return run.make(Sampled, work, inputs=inputs, unit=run.input.unit)


def _in_prompts(run: Run) -> list[str]:
    """Keys of the labelled queries that prompt files have among their own examples."""
    names = prompts.plain_names(
        [*run.settings["generate"]["prompt"], *run.settings["seed"]["prompt"] * run.seeds_prompts]
    )
    templates = [prompts.template(name) for name in names if name != prompts.ADAPTED]
    shown = {query_key(shot.get("query", "")) for template in templates for shot in template.examples or ()}
    labels = run.input.labels
    return sorted(
        shown.intersection(query_key(query.text) for query in (*labels.choosing.queries, *labels.measuring.queries))
    )


def preview(run: Run, docs: Mapping[str, Doc], test_share: float, **changes: Any) -> Sample:
    """What would be drawn from these documents with some settings changed, without needing an index."""
    settings = {**run.settings["sample"], **changes}
    if settings["method"] == "diverse":  # which needs the index, and draws as many
        settings["method"] = "uniform"
    return sample(docs, test_share, run.input.pairs, parents=run.input.parents, seed=run.seed, **settings)
