"""Extract the query from an LLM's answer, or reject the answer with a reason.

Cleaning removes what surrounds a query (`unwrap.py`) and never changes the query itself. Rejected answers are kept, so
that other rules can be applied to them.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache

from acclimate.base.words import SENTENCE_MARKS, characters_of, words_of
from acclimate.corpus.language import code_of, language_of, script_of, script_written, scripts_of
from acclimate.llm.answers import reasoning
from acclimate.llm.answers.phrases import APOLOGY, ERROR_MESSAGE, NEEDS_THE_DOC, THOUGHT
from acclimate.llm.answers.unwrap import unwrap

MIN_WORDS = 2
MAX_WORDS = 40
ECHO_WORDS = 6  # words of a verbatim run that counts as a copy, if it is most of the query
REASONS = (
    "refused",
    "too long for the LLM",
    "unusable answer",
    "unfinished reasoning",
    "empty",
    "preamble",
    "unfinished",
    "too short",
    "too long",
    "repeated",
    "not self-contained",
    "echo",
    "from the examples",
    "wrong language",
)
# Reason to reject, by finish reason; an unknown finish reason counts as unfinished.
_ENDED = {
    "content_filter": "refused",
    "context": "too long for the LLM",
    "error": "unusable answer",
    "reasoning": "unfinished reasoning",
}

_BROKEN = "\ufffd"  # replacement character of undecodable bytes
_SENTENCE_END = re.compile(rf"(?<=[.!?{SENTENCE_MARKS}])\s+|\n+")
_SAYS_LITTLE = frozenset(
    "about after also been before being between both could does doing done down each ever first from good have having "
    "here into just like long made make makes many more most much must only other over same should some such than that "
    "their them then there these they this those through under until used uses using very want were what when where "
    "whether which while will with without would your".split()
)


def first_line(text: str, finish_reason: str) -> tuple[str, str | None]:
    """(first non-blank line, reason to reject it or None), as in InPars; reasons as in `clean`."""
    query = text.strip().partition("\n")[0].strip()
    return query, _ENDED.get(finish_reason, None if query else "empty")


def clean(
    text: str, doc_text: str, finish_reason: str, examples: str = "", language: str = ""
) -> tuple[str, str | None]:
    """(query in `text`, reason to reject it: the first of REASONS that holds, or None).

    doc_text: what the LLM was shown, to detect copies. finish_reason: as in `Completion`. examples: the prompt before
    the doc, whose subjects do not belong in the query. language: code or name; the doc's if empty.
    """
    query, had_preamble = unwrap(text)
    query = _with_number(query, text, doc_text)
    if finish_reason in _ENDED:
        return query, _ENDED[finish_reason]
    words = words_of(query)
    whole = query if finish_reason == "stop" else query.rstrip(_BROKEN)  # others may end within a character
    if _BROKEN in whole and _BROKEN not in doc_text:
        return query, "unusable answer"
    if not words and reasoning.has_reasoning(text):
        return query, "unfinished reasoning"
    if not words:
        return query, "preamble" if had_preamble else "empty"
    if APOLOGY.match(query):
        return query, "refused"
    if THOUGHT.match(query):
        return query, "unfinished reasoning"
    if finish_reason != "stop":
        return query, "unfinished"
    if len(words) < MIN_WORDS or not any(map(str.isalpha, query)):  # 1.0 counts as two words
        return query, "too short"
    if _loops(words, doc_text):
        return query, "repeated"
    if len(words) - sum(map(_is_character, words)) / 2 > MAX_WORDS:  # a word has about two characters there
        return query, "too long"
    if NEEDS_THE_DOC.search(query) and not ERROR_MESSAGE.match(query):
        return query, "not self-contained"
    if _copies(words, doc_text):
        return query, "echo"
    if _borrows(words, doc_text, examples):
        return query, "from the examples"
    if _is_foreign(query, doc_text, language):
        return query, "wrong language"
    return query, None


def _is_character(word: str) -> bool:
    return len(characters_of(word)) == 1


def _with_number(query: str, text: str, doc_text: str) -> str:
    """The query with a leading `1.`, removed as a list number, restored if it is so in the doc: 1. FC Köln."""
    first = query.partition(" ")[0]
    is_name = first and f"1. {query}" in text and re.search(rf"\w,? 1\. {re.escape(first)}(?!\w)", doc_text)
    return f"1. {query}" if is_name else query


def _loops(words: list[str], doc_text: str) -> bool:
    """True for a word three times in a row (unless so in the doc), three words three times, or mostly repetitions."""
    thrice = {a for a, b, c in zip(words, words[1:], words[2:], strict=False) if a == b == c}
    doc = f" {' '.join(words_of(doc_text))} " if thrice else ""
    if any(f" {word} {word} {word} " not in doc for word in thrice):
        return True
    threes = list(zip(words, words[1:], words[2:], strict=False))
    if any(threes.count(three) > 2 for three in set(threes)):
        return True
    return len(words) >= 8 and len(set(words)) < len(words) / 2


def _copies(words: list[str], doc_text: str) -> bool:
    """True for one of the doc's sentences, or a verbatim run of ECHO_WORDS or more that is four fifths of the query.

    A short heading does not count: people search for it verbatim.
    """
    ended = [part for part in _SENTENCE_END.split(doc_text) if part.rstrip().endswith((*".!?", *SENTENCE_MARKS))]
    sentences = [words_of(sentence) for sentence in ended]
    if len(words) > 3 and words in sentences:
        return True
    run = max(ECHO_WORDS, -(-4 * len(words) // 5))
    doc = f" {' '.join(words_of(doc_text))} "
    return any(f" {' '.join(words[start : start + run])} " in doc for start in range(len(words) - run + 1))


def _borrows(words: list[str], doc_text: str, examples: str) -> bool:
    """True if two adjacent content words come from the examples and neither is in the doc."""
    pairs = set(itertools.pairwise(words)) & _telling_pairs(examples)
    doc = set(words_of(doc_text)) if pairs else set()
    return any(doc.isdisjoint(pair) for pair in pairs)


def _is_foreign(query: str, doc_text: str, language: str) -> bool:
    """True if detectably in another language or script than requested or, without a request, than the doc."""
    if language:
        expected = code_of(language)
        script = expected and script_written(expected)
    else:
        script, expected = script_of(doc_text), language_of(doc_text)
    written = language_of(query)
    lacks_it = script is not None and script_of(query) is not None and script not in scripts_of(query)
    return lacks_it or (None not in (expected, written) and expected != written)


@lru_cache(maxsize=64)
def _telling_pairs(text: str) -> frozenset[tuple[str, str]]:
    words = words_of(text)
    telling = {word for word in words if len(word) > 3 and word not in _SAYS_LITTLE}
    return frozenset((a, b) for a, b in itertools.pairwise(words) if a in telling and b in telling)
