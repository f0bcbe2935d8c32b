"""What a server accepts, learned from its complaints, and stored with the run's answers.

Servers differ in supported parameters and only say so in errors. A rejected parameter is omitted from then on, by all
threads, decodings and batch files of a run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from acclimate.llm.server.failures import Failure, Outcome

_LIMITS = ("max_tokens", "max_completion_tokens", "")  # names of the limit on new tokens, in order of trying
# Parameters that can be omitted, with patterns of complaints; of several, the least important comes first.
_NAMED = {
    "chat_template_kwargs": r"chat[ _-]?template|enable[ _-]?thinking",
    "logprobs": r"log[ _-]?prob",
    "seed": r"\bseed\b",
    "top_p": r"\btop[ _-]?p\b",
    "temperature": r"\btemperature\b",
    "stop": r"""['"`.]stop\b|\bstop(?: ?s|[ _-]?(?:sequence|word|string)s?)\b""",
}
_NAMED_LIMIT = {
    "max_tokens": r"\bmax[ _-]?(?:completion[ _-]?|new[ _-]?|output[ _-]?)?tokens\b",
    "max_completion_tokens": r"(?<!use )(?<!use .)\bmax_completion_tokens\b",  # unless it is recommended
}
_NO_COMPLAINT = (401, 402, 407, 408, 409, 425, 429, 502, 503, 504)  # statuses that are never about parameters


@dataclass
class Terms:
    """What is known of one server's model, shared by all who call it."""

    left_out: tuple[str, ...] = ()
    limit: str = _LIMITS[0]
    thinks: bool = False  # it was seen to reason, and is told not to

    @classmethod
    def load(cls, payload: str) -> Self:
        """Parse the output of `dump`, ignoring invalid parts."""
        try:
            row = dict(json.loads(payload))
        except (ValueError, TypeError, RecursionError):
            return cls()
        names, limit = row.get("left_out"), row.get("limit")
        return cls(
            tuple(name for name in _NAMED if isinstance(names, list) and name in names),
            limit if limit in _LIMITS else _LIMITS[0],
            row.get("thinks") is True,
        )

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    def add(self, others: Terms) -> None:
        """Merge what others have learned."""
        self.left_out = tuple(name for name in _NAMED if name in (*self.left_out, *others.left_out))
        self.limit = max(self.limit, others.limit, key=_LIMITS.index)
        self.thinks |= others.thinks

    def applied(self, body: dict[str, Any]) -> dict[str, Any]:
        """Adapt the body of a request; `max_tokens` in it is the limit."""
        kept = {key: value for key, value in body.items() if key not in (*self.left_out, "max_tokens")}
        if self.limit and "max_tokens" in body:
            kept[self.limit] = body["max_tokens"]
        if self.thinks and "messages" in body and "chat_template_kwargs" not in self.left_out:
            kept["chat_template_kwargs"] = {"enable_thinking": False}
        return kept

    def learned(self, failure: Failure, sent: Mapping[str, Any]) -> bool:
        """Learn from a complaint; True if it concerns something in the request that can be omitted."""
        if failure.means is Outcome.TOO_LONG or failure.status in _NO_COMPLAINT:
            return False
        patterns = {name: pattern for name, pattern in _NAMED.items() if name in sent}
        patterns |= {name: pattern for name, pattern in _NAMED_LIMIT.items() if name in sent}
        for words in (failure.fields, failure.message):
            named = [name for name, pattern in patterns.items() if re.search(pattern, words, re.IGNORECASE)]
            if len(named) > 1 and (failure.status or 0) >= 500:
                return False  # the whole request, as a server echoes it on failure
            if named and named[0] in _LIMITS:
                following = _LIMITS[_LIMITS.index(named[0]) + 1]
                self.limit = max(self.limit, following, key=_LIMITS.index)
            if named:
                self.left_out = tuple(name for name in _NAMED if name in (*self.left_out, named[0]))
                return True
        return False

    def omitted(self) -> list[str]:
        """Names of the omitted parameters, for messages."""
        return [*self.left_out, *([] if self.limit else ["max_tokens"])]
