"""Which documents queries are written for, and which of them are held out.

Every choice hashes the seed and the doc's own id, so that the order of the corpus cannot matter and a document added
or removed changes no other's fate. Documents with equal text are one document here: only the first by id is drawn, so
none is on both sides of a split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from acclimate.errors import SettingError
from acclimate.records import Doc, PromptExample

Split = Literal["train", "dev", "test"]


class Sample(NamedTuple):
    """The drawn docs, by id, each with the side its queries will be on; and the examples for prompts."""

    splits: dict[str, Split]
    dropped: dict[str, int]
    examples: list[PromptExample]


def sample(
    corpus: Mapping[str, Doc],
    test_share: float = 0.0,
    pairs: Callable[[str], Sequence[PromptExample]] = lambda source: (),
    *,
    n_docs: int = 1000,
    min_chars: int = 80,
    dev_share: float = 0.15,
    examples: str = "",
    n_examples: int = 3,
    seed: int = 0,
) -> Sample:
    """Draw documents uniformly, without replacement.

    `test_share` of them are held out to measure on, where there are no labelled queries. `pairs` has what `examples`
    names. The documents of the examples that are drawn get no query of their own.

    Parameters
    ----------
    n_docs
        Documents to write queries for; all of them when the corpus has fewer.
    min_chars
        Documents shorter than this many characters get no query.
    dev_share
        Share of the documents whose queries only choose: teachers, weights, when to stop.
    examples
        Queries with a document each, which prompts such as promptagator show to the LLM: a JSON Lines file with query
        and document (or doc_id), or train, for the collection's own training queries.
    n_examples
        How many of them are shown. They are left out of training and of what is measured.
    """
    shown = _examples(pairs(examples) if examples else (), n_examples, seed)
    taken = {one.doc_id for one in shown} | {_key(one.document) for one in shown}
    first: dict[bytes, str] = {}  # normalized text -> the id that stands for it
    dropped = {"short": 0, "duplicate": 0, "example of a prompt": 0, "not drawn": 0}
    for doc in corpus.values():
        if len(doc.default_text().strip()) < min_chars:
            dropped["short"] += 1
            continue
        key = text_key(doc)
        if doc.doc_id in taken or key in taken:
            dropped["example of a prompt"] += 1
            continue
        if key in first:
            dropped["duplicate"] += 1
        if key not in first or doc.doc_id < first[key]:
            first[key] = doc.doc_id
    drawn = sorted(first.values(), key=lambda doc_id: (_draw(seed, "draw", doc_id), doc_id))
    dropped["not drawn"] = max(0, len(drawn) - n_docs)
    sides: dict[str, Split] = {
        doc_id: _side(_draw(seed, "side", doc_id), dev_share, test_share) for doc_id in drawn[:n_docs]
    }
    return Sample(sides, dropped, shown)


def _examples(pairs: Sequence[PromptExample], n_examples: int, seed: int) -> list[PromptExample]:
    """As many of the pairs, no query and no document twice, in an order that follows from their ids and the seed."""
    if pairs and n_examples < 1:
        raise SettingError(f"sample.n_examples is {n_examples}; expected 1 or more")
    chosen: list[PromptExample] = []
    seen: set[bytes] = set()
    for one in sorted(pairs, key=lambda one: (_draw(seed, "example", one.query_id), one.query_id, one.doc_id)):
        own = {_key(one.query), _key(one.document)}
        if len(chosen) < n_examples and not own & seen:
            chosen.append(one)
            seen |= own
    return chosen


def text_key(doc: Doc) -> bytes:
    """Equal for documents whose texts differ in case and spacing at most."""
    return _key(doc.default_text())


def _key(text: str) -> bytes:
    words = " ".join(text.lower().split())
    return hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _draw(seed: int, purpose: str, doc_id: str) -> float:
    """A number in [0, 1) that depends on nothing else."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{doc_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _side(draw: float, dev_share: float, test_share: float) -> Split:
    return "dev" if draw < dev_share else "test" if draw < dev_share + test_share else "train"
