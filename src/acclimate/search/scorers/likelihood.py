"""Query likelihood of an LLM that has read the document (UPR, arXiv 2204.07496)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from acclimate.llm.decoders.decoder import Rows
from acclimate.search.scorers.by_document import ByDocument


class Likelihood(ByDocument):
    """Mean natural log-probability of the query's tokens given the document: at most 0, higher is better."""

    kind: ClassVar[str] = "likelihood"
    prompt: ClassVar[str] = "Document: {document}\nQuestion: {query}"

    def _rate(self, starts: Rows, rows: Rows, of: Sequence[int]) -> list[float]:
        return [float(row.mean()) for row in self._reader.logprobs(starts, rows, of)]
