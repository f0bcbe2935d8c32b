"""Score by asking an LLM whether a document answers a query: the log-odds of yes against no as its next token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from acclimate.llm.decoders.decoder import Rows
from acclimate.search.scorers.by_document import ByDocument


class YesNo(ByDocument):
    """Natural log-odds of " yes" against " no", in float32; above 0 the LLM prefers yes.

    Compares the first tokens in which the two answers differ.
    """

    kind: ClassVar[str] = "yes-no"
    prompt: ClassVar[str] = (
        "Document: {document}\nQuery: {query}\nDoes the document answer the query, yes or no?\nAnswer:"
    )

    def _rate(self, starts: Rows, rows: Rows, of: Sequence[int]) -> list[float]:
        shared, yes, no = self._answers
        logits = self._reader.logits_of(starts, [[*row, *shared] for row in rows], of, (yes, no))
        return (logits[:, 0] - logits[:, 1]).tolist()

    @cached_property
    def _answers(self) -> tuple[list[int], int, int]:
        """The common prefix of both answers, and the next token of each."""
        yes, no = self._ids(" yes"), self._ids(" no")
        place = next(place for place, (a, b) in enumerate(zip(yes, no, strict=False)) if a != b)
        return yes[:place], yes[place], no[place]
