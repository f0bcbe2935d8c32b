"""An LLM is asked whether a document answers a query: the log-odds of yes against no, read off its next token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from acclimate.errors import SettingError
from acclimate.score.by_document import ByDocument


class YesNo(ByDocument):
    """Natural log-odds of the first tokens of " yes" and " no", in float32; above 0 the LLM would say yes."""

    kind: ClassVar[str] = "yes-no"
    prompt: ClassVar[str] = (
        "Document: {document}\nQuery: {query}\nDoes the document answer the query, yes or no?\nAnswer:"
    )

    def _rate(self, prefix: Any, rows: Sequence[Sequence[int]]) -> list[float]:
        logits = self._reader.logits_of(prefix, rows, self._answers)
        return (logits[:, 0] - logits[:, 1]).tolist()

    @cached_property
    def _answers(self) -> tuple[int, int]:
        yes, no = (self._ids(answer)[0] for answer in (" yes", " no"))
        if yes == no:
            raise SettingError(
                f"yes-no:{self.name}: its yes and no begin with the same token; use likelihood:{self.name}"
            )
        return yes, no
