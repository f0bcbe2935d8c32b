"""How an LLM goes on from a prompt, and what of its text is the answer."""

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
TEMPERATURE = Between(0.0001, 100.0, besides=(0,))  # near 0, logits that are divided by it overflow
TOP_P = Above(0, 1)
# Lines in front of an answer: they end in a colon, open a fence or a tag, are a heading of a word or three, what is
# left of a chat template, or reasoning by its name.
_ANNOUNCES = re.compile(
    r"""(?:.*[:：]\**|(?:`{3}|~{3})[\w+-]*|<\w+>|[-*_=]{3,}|(?:\#{1,6}\s+|\*\*)[^\W\d]+(?:\s+[^\W\d]+){0,2}[\s*]*
    |(?:<\|[\w\ ]+\|>|<start_of_turn>)*(?:assistant|model)|(?:<\|[\w\ ]+\|>)+
    |<\|start_header_id\|>assistant<\|end_header_id\|>
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

    stop: texts that end an answer and are not part of it. temperature: 0 is greedy; above it, tokens are drawn from the
    likeliest ones that make up `top_p`, as `seed` and `sample` say. sample: which of several answers to one prompt.
    chat: the prompt is a message to a chat model, where the LLM is one, and the answer its first line that says
    something, behind what the model thinks aloud.
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
        """Equal for decodings that cannot differ: greedy ones draw nothing."""
        drawn = (self.temperature, self.top_p, self.seed, self.sample) if self.temperature else ()
        stop = () if self.chat else self.stop
        return fingerprint(self.max_new_tokens, stop, self.chat, *drawn)

    def draws(self, prompt: str) -> str:
        """What the draws of an answer follow from."""
        return f"{self.seed}:{self.sample}\0{prompt}"

    def draw_seed(self, prompt: str) -> int:
        """What `draws` says as a number in [0, 2**31), for backends that draw by themselves."""
        digest = hashlib.sha256(self.draws(prompt).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:4], "big") >> 1

    def span(self, text: str) -> tuple[int, int, bool]:
        """Where in `text` the answer begins and ends, and whether it is whole: nothing written behind can change it."""
        if self.chat:
            return _telling_line(text)
        # The first to be complete: another may begin before it, but what is written behind it would decide on that.
        ends = ((start + len(stop), start) for stop in self.stop if (start := text.find(stop)) >= 0)
        end = min(ends, default=None)
        return (0, len(text), False) if end is None else (0, end[1], True)

    def ended(self, text: str, reason: str) -> str:
        """Why an answer ended, told from its whole text and what its LLM says: `stop` once it is whole, `reasoning`
        where the LLM thought aloud and came to no answer."""
        begin, end, is_whole = self.span(text)
        if begin == end and reasoning.shows_in(text):
            return "reasoning"
        return "stop" if is_whole else reason


def _telling_line(text: str) -> tuple[int, int, bool]:
    """The first line that says something, behind what the model thought aloud. Lines that only announce or wrap it
    belong to it, and so does the whole of what is written in JSON."""
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
    """Where the value that begins there ends, and whether nothing behind can change that; 0 for a line that merely
    begins like one."""
    try:
        value, end = json.JSONDecoder().raw_decode(text[:limit], begin)
    except (ValueError, RecursionError):
        return limit, False
    rest = text[end:limit].partition("\n")
    if isinstance(value, dict) or not rest[0].strip():
        return end, isinstance(value, dict) or bool(rest[1])
    return 0, False
