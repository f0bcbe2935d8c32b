"""Decoding parameters, and which part of a generated text is the answer."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from acclimate.base.digests import fingerprint
from acclimate.base.domains import Above, Between
from acclimate.base.errors import SettingError
from acclimate.llm.answers import reasoning

MAX_NEW_TOKENS = Between(1, 100_000)
TEMPERATURE = Between(0.0001, 100.0, besides=(0,))  # logits divided by a smaller one may overflow
TOP_P = Above(0, 1)
# Lines before an answer: ending in a colon, opening a code fence or tag, a heading of up to three words, leftovers of a
# chat template, or labelled reasoning.
_ANNOUNCES = re.compile(
    r"""(?:.*[:：]\**|(?:`{3}|~{3})[\w+-]*|<\w+>|[-*_=]{3,}|(?:\#{1,6}\s+|\*\*)[^\W\d]+(?:\s+[^\W\d]+){0,2}[\s*]*
    |(?:<\|[\w\ ]+\|>|<start_of_turn>)*(?:assistant|model)|(?:<\|[\w\ ]+\|>)+
    |<\|start_header_id\|>assistant<\|end_header_id\|>|json
    |[Qq]uery|[Qq]uestion|"{3}|\\\[|[\w\ ]+:\ *[|>]-?|\|[\s|:#-]*\||\|[\s|\#]*(?:[Ss]earch\ )?[Qq](?:uery|uestion)[\s|]*
    |(?:[Ss]ure|[Cc]ertainly|[Aa]bsolutely|[Oo]f\ course|[Oo]kay|[Uu]nderstood)(?:\ thing)?[.!]
    |\W*(?:[Tt]houghts?|[Tt]hinking|[Rr]easoning|[Rr]ationale|思考)\W*[:：].*|【思考】.*)""",
    re.VERBOSE,
)
_BLANKS = re.compile(r"\s*")
_JSON = re.compile(r"\{\s*[\"']|\[\s*[\"'{]")


@dataclass(frozen=True)
class Decoding:
    """What an answer depends on besides the LLM and the prompt.

    stop: texts that end an answer and are not part of it. temperature: 0 is greedy; above, tokens are sampled from the
    nucleus `top_p`, determined by `seed` and `sample`. sample: index among several answers to one prompt. chat: send
    the prompt as a chat message, if the LLM is a chat model, and take the first meaningful line after its reasoning as
    answer.
    """

    max_new_tokens: int = 48
    stop: tuple[str, ...] = ("\n",)
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    sample: int = 0
    chat: bool = False

    def __post_init__(self) -> None:
        for name, domain in (("max_new_tokens", MAX_NEW_TOKENS), ("temperature", TEMPERATURE), ("top_p", TOP_P)):
            if (value := getattr(self, name)) not in domain:
                raise SettingError(f"{name} is {value}; expected {domain}")

    @property
    def fingerprint(self) -> str:
        """Equal for equivalent decodings: greedy ones ignore the seed."""
        drawn = (self.temperature, self.top_p, self.seed, self.sample) if self.temperature else ()
        stop = () if self.chat else self.stop
        return fingerprint(self.max_new_tokens, stop, self.chat, *drawn)

    def draws(self, prompt: str) -> str:
        """The key of an answer's random numbers."""
        return f"{self.seed}:{self.sample}\0{prompt}"

    def draw_seed(self, prompt: str) -> int:
        """`draws` as a number in [0, 2**31), for backends with their own sampler."""
        digest = hashlib.sha256(self.draws(prompt).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:4], "big") >> 1

    def span(self, text: str) -> tuple[int, int, bool]:
        """(start, end, whether complete) of the answer in `text`; later text cannot change a complete one."""
        if self.chat:
            return _telling_line(text)
        # The first to be complete: with an earlier but incomplete one, later text would decide.
        ends = ((start + len(stop), start) for stop in self.stop if (start := text.find(stop)) >= 0)
        end = min(ends, default=None)
        return (0, len(text), False) if end is None else (0, end[1], True)

    def ended(self, text: str, reason: str) -> str:
        """Why an answer ended: `stop` if complete, `reasoning` if it is only that, else the LLM's `reason`."""
        begin, end, is_whole = self.span(text)
        if begin == end and reasoning.has_reasoning(text):
            return "reasoning"
        return "stop" if is_whole else reason


def _telling_line(text: str) -> tuple[int, int, bool]:
    """(start, end, whether complete) of the first meaningful line after reasoning.

    Lines that introduce or wrap it are included, and so is the whole of a JSON value.
    """
    begin, limit = reasoning.answer_span(text)
    begin = position = _next_word(text, begin, limit)
    end = begin
    while position < limit:
        if _JSON.match(text, position):
            end, is_whole = _end_of_json(text, position, limit)
            if end:
                return begin, end, is_whole
        newline = text.find("\n", position, limit)
        end = limit if newline < 0 else newline
        if not _ANNOUNCES.fullmatch(text[position:end].strip()):
            return begin, end, end < len(text)
        position = _next_word(text, end, limit)
    return begin, end, False


def _next_word(text: str, begin: int, end: int) -> int:
    blanks = _BLANKS.match(text, begin, end)
    assert blanks
    return blanks.end()


def _end_of_json(text: str, begin: int, limit: int) -> tuple[int, bool]:
    """(end of the JSON value at `begin`, whether later text cannot change it); 0 if it is not JSON."""
    try:
        value, end = json.JSONDecoder().raw_decode(text[:limit], begin)
    except (ValueError, RecursionError):
        return limit, False
    rest = text[end:limit].partition("\n")
    if isinstance(value, dict) or not rest[0].strip():
        return end, isinstance(value, dict) or bool(rest[1])
    return 0, False
