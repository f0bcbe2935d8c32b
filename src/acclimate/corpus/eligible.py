"""The documents that may be drawn: long enough, not shown in a prompt, and of equal texts the first alone."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.words import length_of, normalized_key
from acclimate.corpus.doc_ids import ascending
from acclimate.records import Doc, PromptExample

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Eligible(NamedTuple):
    """Documents that may be drawn, ascending by id."""

    rows: NDArray[np.int64]  # (n,) of the corpus
    lengths: NDArray[np.int64]  # (n,) characters, see `length_of`
    dropped: dict[str, int]  # reason -> number of other documents


def eligible_docs(
    corpus: Mapping[str, Doc],
    doc_ids: Sequence[str],
    parents: Mapping[str, str],
    shown: Sequence[PromptExample],
    *,
    min_chars: int,
    first_in_corpus: bool = False,
) -> Eligible:
    """The documents that may be drawn. `doc_ids` are those of the corpus, in its order.

    Of documents with equal text the first by id is kept; with `first_in_corpus`, the first in corpus order.
    """
    of_examples = keys_of(shown)
    dropped = {"short": 0, "example of a prompt": 0}
    rows, keys, lengths = array("q"), bytearray(), array("q")
    for row, doc in enumerate(corpus.values()):
        length = length_of(doc.default_text().strip())
        if length < min_chars:
            dropped["short"] += 1
            continue
        key = normalized_key(doc.default_text())
        if parents.get(doc.doc_id, doc.doc_id) in of_examples or key in of_examples:
            dropped["example of a prompt"] += 1
            continue
        rows.append(row)
        keys += key
        lengths.append(length)
    ranks = np.empty(len(doc_ids), np.int64)
    ranks[ascending(doc_ids)] = np.arange(len(doc_ids))
    able = np.frombuffer(rows, np.int64)
    chosen = _unique(keys, able if first_in_corpus else ranks[able])
    dropped["duplicate"] = len(able) - len(chosen)
    chosen = chosen[np.argsort(ranks[able[chosen]])]
    return Eligible(able[chosen], np.frombuffer(lengths, np.int64)[chosen], dropped)


def keys_of(examples: Sequence[PromptExample]) -> set[str | bytes]:
    """The ids of the examples' documents, and the keys of their texts."""
    return {example.doc_id for example in examples} | {normalized_key(example.document) for example in examples}


def _unique(keys: bytearray, precedence: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of unique 16-byte keys; of equal keys the one with the lowest precedence."""
    halves = np.frombuffer(keys, np.uint64).reshape(-1, 2)
    order = np.lexsort((precedence, halves[:, 1], halves[:, 0]))
    halves = halves[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (halves[1:] != halves[:-1]).any(axis=1)
    return order[is_first]
