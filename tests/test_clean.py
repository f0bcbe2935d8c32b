"""What LLMs answer, made into queries: a table of answers as they come, and properties of wrapping and unwrapping."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from answers import BAD, DOC, GOOD, Q
from hypothesis import example, given
from hypothesis import strategies as st
from wrapped_answers import WRAPPED

from acclimate.llm.answers.clean import REASONS, clean
from acclimate.llm.answers.reasoning import answer_span
from acclimate.llm.answers.unwrap import unwrap
from acclimate.llm.decoding import Decoding


def query_of(answer, doc="", finish="stop", chat=True):
    """The whole way of a server's answer: what of it is the answer, then cleaning."""
    begin, end, _ = Decoding(chat=chat).span(answer)
    return clean(answer[begin:end], doc, Decoding(chat=chat).ended(answer, finish))


@pytest.mark.parametrize("query", GOOD)
def test_a_query_that_needs_no_cleaning_is_kept_as_it_is(query):
    assert query_of(query) == (query, None)
    assert query_of(f" {query}\n") == (query, None)
    assert clean(query, "", "stop") == (query, None)


@pytest.mark.parametrize("answer", WRAPPED)
def test_wrapping_is_taken_off(answer):
    assert query_of(answer) == (Q, None)


@pytest.mark.parametrize("answer", [one for one in WRAPPED if "<|im_start|>user\n" not in one])
def test_wrapping_is_taken_off_a_whole_answer_too(answer):
    """As of an LLM whose answers are not cut to their telling line."""
    assert clean(answer, "", "stop") == (Q, None)


@pytest.mark.parametrize(("answer", "finish", "reason"), BAD)
def test_what_is_no_query_is_dropped_with_a_reason(answer, finish, reason):
    assert query_of(answer, DOC, finish)[1] == reason
    assert reason in REASONS


def test_a_short_heading_is_a_query_and_a_sentence_of_the_document_is_none():
    doc = "How to moor a dhow\n\nTies hold it fast. Tie it at two ends.\nLoad it in calm weather only, or wait."
    assert clean("how to moor a dhow", doc, "stop") == ("how to moor a dhow", None)
    assert clean("tie it at two ends", doc, "stop")[1] == "echo"


def test_what_the_document_has_itself_is_a_name_and_no_list_or_loop():
    doc = "Clubs\n\nIn 1948 the 1. FC Köln was founded. Its song goes la la la.\n1. Tie the dhow.\n2. Wait."
    for query in ("1. FC Köln founded", "la la la song"):
        assert clean(query, doc, "stop") == (query, None)
        assert clean(f'Query: "{query}"\n', doc, "stop") == (query, None)
    assert clean("1. FC Köln founded", "", "stop") == ("FC Köln founded", None)
    assert clean("la la la song", "", "stop")[1] == "repeated"
    assert clean("1. Tie a dhow\n2. wait for it", doc, "stop") == ("Tie a dhow", None)


@pytest.mark.parametrize("query", ["what's a dhow's mast", "x: y in python dictionaries", "std::vector<int> push_back"])
@pytest.mark.parametrize(
    "wrapping",
    ["'{}'", "‘{}’", "query = '{}'", "['{}']", "{{'queries': ['{}', 'more']}}", 'Someone might search for "{}".'],
)
def test_colons_and_apostrophes_within_a_query_are_its_own(wrapping, query):
    assert query_of(wrapping.format(query)) == (query, None)


INNER = (
    "{}",
    '"{}"',
    "**{}**",
    "Query: {}",
    "**Query:** {}",
    "Frage: „{}“",
    "1. {}",
    "問題：「{}」",
    "<query>{}</query>",
)
OUTER = (
    "{}",
    "<think>\nHm: ships.\n</think>\n\n{}",
    "```\n{}\n```",
    "Sure! Here is a query:\n\n{}",
    "{}<|im_end|>",
    "# Query\n{}",
)
ENDS = ("{}", "{}\n\nThis query is about ships.", "{}</s>")


@pytest.mark.parametrize(("inner", "outer", "end"), list(itertools.product(INNER, OUTER, ENDS)))
def test_wrappings_within_wrappings_come_off(inner, outer, end):
    for query in GOOD[::9]:
        if not (set('"“„') & set(query) or query.startswith(("#", "*", "<"))):
            assert query_of(end.format(outer.format(inner.format(query)))) == (query, None)


# Letters of several scripts, marks that could be taken for wrapping, and white space.
ODD = st.text(st.sampled_from("abé問й \n\"'“”«»*#`<>[]{}()|/:：.,1?-</s>"), max_size=40)


@given(answer=ODD | st.text(max_size=80), doc=st.text(max_size=40), finish=st.sampled_from(["stop", "length", "odd"]))
@example(answer='{"query": "a\\nb"}', doc="", finish="stop")
@example(answer="[" * 5000 + '"', doc="", finish="stop")
@example(answer='{"a":' * 5000, doc="", finish="stop")
def test_any_answer_is_a_query_or_has_a_reason_and_cleaning_twice_is_cleaning_once(answer, doc, finish):
    query, reason = clean(answer, doc, finish)
    assert unwrap(query) == (query, False) or query.startswith("1. ")
    assert clean(query, doc, "stop")[0] == query
    assert query == query.strip()
    assert reason is None or reason in REASONS
    assert reason is not None or finish == "stop"
    begin, end, _ = Decoding(chat=True).span(answer)
    assert 0 <= begin <= end <= len(answer)


@given(
    words=st.lists(
        st.sampled_from("what is dhow ships sail to in Oman über 什么 где".split()), min_size=2, max_size=9, unique=True
    )
)
def test_words_are_never_changed(words):
    query = " ".join(words)
    assert unwrap(query) == (query, False)
    assert query_of(json.dumps({"query": query}))[0] == query


@pytest.mark.parametrize(
    "part", ["a b ", "<", "(", " ", "\n", '"', '{"a": ', "#", "*", "- ", "a:\n", "1. ", "x. (this query ", "`", "_"]
)
def test_an_answer_of_any_length_is_cleaned_in_a_moment(part):
    started = time.process_time()
    clean("a" + part * 20_000 + "b", DOC, "stop")
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("query", "doc", "reason"),
    [
        ("what is � in a file", "A file with � in it.", None),  # as the document has it
        ("what is � in a file", "A file.", "unusable answer"),
        ("lava erupts here", "Lava erupts here. It is hot.", None),  # as short as a heading
        ("lava erupts here now", "Lava erupts here now. It is hot.", "echo"),
        ("does it help to know that the old lava of the mountain", "The old lava of the mountain is cold.", None),
        ("why the old lava of the mountain", "The old lava of the mountain is cold.", "echo"),
        ("is ash from lava or sand from lava or ash from lava", "", None),  # three words, twice
        ("ash from lava is ash from lava and ash from lava now then", "", "repeated"),
        ("".join(chr(0x4E00 + n) for n in range(70)), "", None),  # two characters are about a word
        ("".join(chr(0x4E00 + n) for n in range(90)), "", "too long"),
        (" ".join(f"word{n}" for n in range(41)), "", "too long"),
    ],
)
def test_what_is_just_a_query_is_kept_and_what_is_just_none_is_not(query, doc, reason):
    assert clean(query, doc, "stop")[1] == reason


def test_an_end_of_reasoning_within_a_line_is_part_of_a_query_unless_reasoning_began():
    assert answer_span("how is </think> closed") == (0, 22)
    assert answer_span("<think> so </think> how") == (19, 23)
