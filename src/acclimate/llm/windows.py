"""Windows: the part of a document that an LLM reads, if not from its start.

People search for content anywhere in a document, not just at its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping

from acclimate.base.words import length_of
from acclimate.llm.lengths import sentence_starts
from acclimate.records import Doc

_FEWEST_CHARS = 80  # minimum characters to read, if there are so many


def window_start(text: str, chance: float) -> int:
    """The character at which a window begins: the start of a uniformly random sentence.

    chance: in [0, 1). An earlier sentence is taken if too little text would follow.
    """
    starts = sentence_starts(text)
    number = int(chance * len(starts))
    while number and length_of(text[starts[number] :].rstrip()) < _FEWEST_CHARS:
        number -= 1
    return starts[number]


def from_window(doc: Doc, windows: Mapping[str, int]) -> Doc:
    """A document as an LLM reads it: its title, and its text from the start of its window, if any."""
    return doc._replace(text=doc.text[windows.get(doc.doc_id, 0) :])
