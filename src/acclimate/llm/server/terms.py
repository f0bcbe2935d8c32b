"""What a server turned out to take: learned from its complaints, and kept with the run's answers.

Servers differ in the parameters that they take and say so only when they are asked. What one refuses is left out from
then on, by all threads, all decodings and all batch files of a run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from acclimate.llm.server.failures import Failure, Means

_LIMITS = ("max_tokens", "max_completion_tokens", "")  # names for the number of new tokens, in the order of trying
# What can be left out, by how complaints name it; what is missed least comes first, where several are named.
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
_NO_COMPLAINT = (401, 402, 407, 408, 409, 425, 429, 502, 503, 504)  # whatever words they come with


@dataclass
class Terms:
    """Shared by all who ask a server's model."""

    left_out: tuple[str, ...] = ()
    limit: str = _LIMITS[0]
    thinks: bool = False  # it was seen to think aloud, and is told not to

    @classmethod
    def load(cls, payload: str) -> Self:
        """What `dump` gave, or may have given: whatever does not fit is passed over."""
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
        """What was learned, as JSON."""
        return json.dumps(asdict(self))

    def add(self, others: Terms) -> None:
        """Take over what others have learned."""
        self.left_out = tuple(name for name in _NAMED if name in (*self.left_out, *others.left_out))
        self.limit = max(self.limit, others.limit, key=_LIMITS.index)
        self.thinks |= others.thinks

    def applied(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body of a request on these terms; `max_tokens` is the limit in it."""
        kept = {key: value for key, value in body.items() if key not in (*self.left_out, "max_tokens")}
        if self.limit and "max_tokens" in body:
            kept[self.limit] = body["max_tokens"]
        if self.thinks and "messages" in body and "chat_template_kwargs" not in self.left_out:
            kept["chat_template_kwargs"] = {"enable_thinking": False}
        return kept

    def learned(self, failure: Failure, sent: Mapping[str, Any]) -> bool:
        """True when a complaint is about something that was sent and can be done without, which it is from now on."""
        if failure.means is Means.TOO_LONG or failure.status in _NO_COMPLAINT:
            return False
        patterns = {name: pattern for name, pattern in _NAMED.items() if name in sent}
        patterns |= {name: pattern for name, pattern in _NAMED_LIMIT.items() if name in sent}
        for words in (failure.fields, failure.message):
            named = [name for name, pattern in patterns.items() if re.search(pattern, words, re.IGNORECASE)]
            if len(named) > 1 and (failure.status or 0) >= 500:
                return False  # all that was sent, as a server writes it down when it fails
            if named and named[0] in _LIMITS:
                following = _LIMITS[_LIMITS.index(named[0]) + 1]
                self.limit = max(self.limit, following, key=_LIMITS.index)
            if named:
                self.left_out = tuple(name for name in _NAMED if name in (*self.left_out, named[0]))
                return True
        return False

    def changes(self, sent: Mapping[str, Any]) -> bool:
        """True when a request that was sent would be another one on today's terms: one that lets the model answer."""
        return self.thinks and not {"chat_template_kwargs"} & {*sent, *self.left_out}

    def omitted(self) -> list[str]:
        """What the server is asked without, for people."""
        return [*self.left_out, *([] if self.limit else ["max_tokens"])]
