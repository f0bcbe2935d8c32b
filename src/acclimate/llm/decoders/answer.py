"""An answer being generated token by token, for all backends that expose tokens."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

from acclimate.llm.decoding import Decoding
from acclimate.records import Completion


@dataclass
class Answer:
    """The answer so far. Accepts tokens while `is_open`."""

    decoding: Decoding
    decode: Callable[[Sequence[int]], str]  # tokens -> text, without special tokens
    end_ids: Container[int]  # tokens that end an answer and are not part of it
    prompt_tokens: int
    tokens: int = 0  # including the end token
    is_open: bool = True
    text: str = ""
    _ids: list[int] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)  # start of each token in the text
    _logprobs: list[float] = field(default_factory=list)

    def add(self, token: int, logprob: float) -> None:
        """Add a token; close the answer at an end token, or when later text cannot belong to it."""
        self.tokens += 1
        if token in self.end_ids:
            self.is_open = False
            return
        self._ids.append(token)
        self._starts.append(len(self.text))
        self._logprobs.append(min(logprob, 0.0))  # rounding may give a positive value
        self.text = self.decode(self._ids)
        self.is_open = not self.decoding.span(self.text)[2]

    def completion(self) -> Completion:
        """The answer, with the log-probabilities of its tokens."""
        begin, end, _ = self.decoding.span(self.text)
        ends = [*self._starts, len(self.text)][1:]  # empty for an answer without tokens
        logprobs = (
            logprob
            for logprob, first, last in zip(self._logprobs, self._starts, ends, strict=True)
            if first < end and last > begin
        )
        reason = self.decoding.ended(self.text, "length" if self.is_open else "stop")
        return Completion(self.text[begin:end], tuple(logprobs), self.prompt_tokens, self.tokens, reason)
