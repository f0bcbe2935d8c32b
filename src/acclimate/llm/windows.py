"""Windows: what an LLM reads of a document when it does not begin at the document's start.

People search for what stands anywhere in a document; its start is but the part that its author put first.
"""

from __future__ import annotations

from collections.abc import Mapping

from acclimate.base.words import length_of
from acclimate.llm.lengths import sentence_starts
from acclimate.records import Doc

_FEWEST_CHARS = 80  # that are left to read, where there are so many


def window_start(text: str, chance: float) -> int:
    """The character where a window in a text starts: a sentence's first, each sentence as likely as any other.

    chance: in [0, 1). So near to the end that little would be left to read, it is an earlier sentence's.
    """
    starts = sentence_starts(text)
    number = int(chance * len(starts))
    while number and length_of(text[starts[number] :].rstrip()) < _FEWEST_CHARS:
        number -= 1
    return starts[number]


def from_window(doc: Doc, windows: Mapping[str, int]) -> Doc:
    """A document as an LLM reads it: its title, and its text from where its window starts, if it has one."""
    return doc._replace(text=doc.text[windows.get(doc.doc_id, 0) :])
