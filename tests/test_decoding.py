"""What of an LLM's text is the answer, what answers depend on, and where documents are cut: properties."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from acclimate.base.errors import DataError, SettingError
from acclimate.llm.decoders.answer import Answer
from acclimate.llm.decoders.chat_template import around
from acclimate.llm.decoders.decoder import name_of_cache
from acclimate.llm.decoding import Decoding
from acclimate.llm.lengths import about_tokens, characters_in, check_room, cut_at

TEXTS = st.text(st.sampled_from("ab:.\n \t。é"), max_size=24)
STOPS = st.lists(st.text(st.sampled_from("ab.\n"), min_size=1, max_size=3), max_size=3).map(tuple)
DECODINGS = st.builds(Decoding, stop=STOPS, chat=st.booleans())


# The span of an answer


@given(DECODINGS, TEXTS, TEXTS)
@example(Decoding(stop=("b", "ab\n")), "ab", "\n")
@example(Decoding(chat=True), "Here it is:", "\nwhat")
def test_an_answer_that_is_whole_is_changed_by_nothing_behind_it(decoding, text, more):
    begin, end, is_whole = decoding.span(text)
    assert 0 <= begin <= end <= len(text)
    if is_whole:
        assert decoding.span(text + more) == (begin, end, True)


@given(STOPS, TEXTS)
def test_an_answer_has_no_stop_in_it_and_is_whole_where_the_text_has_one(stop, text):
    begin, end, is_whole = Decoding(stop=stop).span(text)
    assert begin == 0
    assert is_whole == any(one in text for one in stop)
    assert not any(one in text[:end] for one in stop)
    assert is_whole or end == len(text)


@given(TEXTS)
def test_an_answer_in_a_chat_is_one_telling_line_and_the_announcements_before_it(text):
    begin, end, is_whole = Decoding(chat=True, stop=("a",)).span(text)
    lines = [line for line in text[begin:end].split("\n") if line.strip()]
    assert not text[:begin].strip()
    assert all(line.rstrip().endswith(":") for line in lines[:-1])
    if text.strip():
        assert lines
        assert not text[begin].isspace()
    if is_whole:
        assert text[end] == "\n"


def test_the_first_telling_line_is_the_answer():
    decoding = Decoding(chat=True)
    for text, answer in (
        ("\n\n what is it?\nIt is", "what is it?"),
        ("Sure, here it is:\n\nwhat is it?\n", "Sure, here it is:\n\nwhat is it?"),
        ("what is it?", "what is it?"),
        ("```\nwhat is it?\n```", "```\nwhat is it?"),
        ("<think>It is\na ship.</think>\n\nwhat is it?\nIt is", "what is it?"),
        ('{\n"query": "what is it?"\n}\nIt is', '{\n"query": "what is it?"\n}'),
        ('[\n"what is it?"\n] \nIt is', '[\n"what is it?"\n]'),
        ('["Dune"] what is it?\nIt is', '["Dune"] what is it?'),
        ("", ""),
    ):
        begin, end, _ = decoding.span(text)
        assert text[begin:end] == answer
    assert [decoding.span(text)[2] for text in ('{"q": 1}', '["q"]', '["q"]\n', '{"q":')] == [True, False, True, False]


@pytest.mark.parametrize(
    ("text", "said", "reason"),
    [
        ("what is it?\nIt is", "length", "stop"),
        ("what is it, and", "length", "length"),
        ("what is it?", "stop", "stop"),
        ("what is it?", "odd", "odd"),
        ("<think>It is\na ship", "length", "reasoning"),
        ("<think>It is\na ship</think>", "stop", "reasoning"),
        ("<think>It is</think>\nwhat is", "length", "length"),
    ],
)
def test_an_answer_that_only_thinks_aloud_ends_in_reasoning(text, said, reason):
    assert Decoding(chat=True).ended(text, said) == reason


@pytest.mark.parametrize(
    "piece", ["</think>", "a </think> b", "<think>\n</think>\n", "Query:\n", "```\n", '{"a":', " "]
)
def test_reading_an_answer_takes_time_by_its_length(piece):
    """A model may write one thing again and again, as long as it is let."""

    def seconds(length):
        text = piece * (length // len(piece))
        started = time.process_time()
        Decoding(chat=True).ended(text, "stop")
        return time.process_time() - started

    assert seconds(200_000) < 0.2 + 8 * seconds(50_000)  # with the square: 16 times


@pytest.mark.parametrize("tag", ["think", "reasoning"])
def test_reasoning_that_a_template_begins_is_over_before_the_answer(tag):
    before, after = around("tiny", lambda messages: f"[{messages[0]['content']}]\n<{tag}>\n")
    assert (before, after) == ("[", f"]\n<{tag}>\n\n</{tag}>\n\n")


# What answers depend on


@given(st.integers(), st.integers(0, 9), st.floats(0.01, 1.0))
def test_greedy_decodings_differ_by_nothing_that_is_drawn(seed, sample, top_p):
    greedy = Decoding()
    assert replace(greedy, seed=seed, sample=sample, top_p=top_p).fingerprint == greedy.fingerprint
    assert replace(greedy, chat=True, stop=("x",)).fingerprint == replace(greedy, chat=True).fingerprint  # read by none


def test_decodings_that_can_differ_have_different_fingerprints():
    drawn = Decoding(temperature=0.7)
    different = [
        Decoding(),
        Decoding(max_new_tokens=9),
        Decoding(stop=("\n\n",)),
        Decoding(stop=()),
        Decoding(chat=True),
        drawn,
        replace(drawn, temperature=0.8),
        replace(drawn, top_p=0.9),
        replace(drawn, seed=1),
        replace(drawn, sample=1),
    ]
    assert len({decoding.fingerprint for decoding in different}) == len(different)


def test_draws_follow_from_seed_sample_and_prompt():
    decoding = Decoding(temperature=1.0)
    others = [replace(decoding, seed=1), replace(decoding, sample=1), replace(decoding, seed=1, sample=1)]
    seeds = [one.draw_seed(prompt) for one in (decoding, *others) for prompt in ("a", "b", "\ud800")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert decoding.draw_seed("a") == Decoding(temperature=0.5, stop=()).draw_seed("a")


@pytest.mark.parametrize(("tokens", "has_room"), [(0, False), (1, True), (8, True), (9, False)])
def test_a_prompt_has_a_token_and_leaves_room_for_the_answer(tokens, has_room):
    if has_room:
        check_room("some", "prompt", tokens, 2, 10)
    else:
        with pytest.raises(SettingError, match=f"a prompt of {tokens} tokens and 2 new ones: some takes 1 to 10"):
            check_room("some", "prompt", tokens, 2, 10)


@pytest.mark.parametrize(
    ("name", "values"), [("max_new_tokens", (0, 100_001)), ("temperature", (-1, 1e-5, 101)), ("top_p", (0, 1.1))]
)
def test_decodings_that_cannot_be_are_refused_by_name(name, values):
    for value in values:
        with pytest.raises(SettingError, match=f"^{name} is {value}; expected "):
            Decoding(**{name: value})


# An answer in the making


def spelled(ids):
    """A token a letter; 0 ends the text."""
    return "".join(chr(token) for token in ids)


@given(DECODINGS, TEXTS, st.integers(0, 30))
def test_an_answer_is_the_span_of_its_tokens_with_a_logprob_for_each(decoding, text, at):
    answer = Answer(decoding, spelled, {0}, 5)
    for token in [*map(ord, text[:at]), 0, *map(ord, text[at:])]:
        if answer.is_open:
            assert not decoding.span(answer.text)[2]
            answer.add(token, -float(token))
    begin, end, _ = decoding.span(answer.text)
    found = answer.completion()
    assert text[:at].startswith(answer.text)
    assert found.text == answer.text[begin:end]
    assert found.logprobs == tuple(-float(ord(letter)) for letter in found.text)
    assert (found.prompt_tokens, found.finish_reason) == (5, "stop")
    assert len(answer.text) <= found.completion_tokens <= len(answer.text) + 1


def test_an_answer_that_nothing_ended_was_cut_and_no_token_is_surer_than_sure():
    answer = Answer(Decoding(), spelled, {0}, 1)
    answer.add(ord("a"), 1e-7)
    assert answer.completion() == ("a", (0.0,), 1, 1, "length")


# Chat templates


def test_a_template_is_what_stands_around_a_message():
    assert around("m", lambda messages: f"<{messages[0]['role']}>{messages[0]['content']}</s>") == ("<user>", "</s>")


def test_a_template_that_fails_or_leaves_the_message_out_is_refused():
    with pytest.raises(DataError, match="m: its chat template fails: ZeroDivisionError"):
        around("m", lambda messages: str(1 / 0))
    with pytest.raises(DataError, match="leaves the message out"):
        around("m", lambda messages: "hello")


# Cuts


@given(st.text(st.sampled_from("abc. \n。!)é"), max_size=60), st.integers(0, 70))
def test_a_cut_is_a_start_of_the_text_and_no_longer_than_asked(text, end):
    part = cut_at(text, end)
    assert text.startswith(part)
    assert len(part) <= end
    assert bool(part) == bool(text[:end])
    if len(text) <= end:
        assert part == text


@given(st.lists(st.sampled_from(["word", "longer", "ends.", "asks?", "cat"]), min_size=2, max_size=20), st.data())
def test_a_cut_ends_a_sentence_in_the_second_half_or_else_a_word(words, data):
    text = " ".join(words)
    end = data.draw(st.integers(6, len(text)))  # the longest word fits
    part = cut_at(text, end)
    assert part == text or text[len(part)] == " "
    if part != text:
        ends = [at + 1 for at in range(len(text)) if text[at] in ".?" and end / 2 <= at + 1 <= end]
        words_fit = [at for at in range(end + 1) if text[at] == " "]
        assert len(part) == (ends or words_fit)[-1]


@pytest.mark.parametrize("letters", ["あいうえお", "ภาษาไทยที่ไม่มีช่องว่าง", "没有标点的文本", "https://example.com/x"])
def test_a_text_without_blanks_is_cut_between_characters_and_not_behind_its_title(letters):
    text = "Title " + letters * 60
    for end in range(100, 130):
        cut = cut_at(text, end)
        assert text.startswith(cut) and end - 5 <= len(cut) <= end
        assert unicodedata.category(text[len(cut)])[0] != "M"


def test_no_sentence_ends_behind_an_initial_or_inside_a_number():
    assert cut_at("Written by J. R. Smith about version 3.5 of it", 30) == "Written by J. R. Smith about"
    assert cut_at("It holds 3.5 liters (or so). More", 31) == "It holds 3.5 liters (or so)."
    assert cut_at("日本の首都は東京です。人口は多い", 13) == "日本の首都は東京です。"
    assert cut_at("unforeseeable", 5) == "unfor"


@given(st.text("ab 火é\n", max_size=40), st.integers(1, 20))
def test_a_character_that_is_not_of_ascii_counts_as_a_token_and_four_others_do(text, most):
    cost = [1 if char.isascii() else 4 for char in text]
    assert about_tokens(text) == sum(char == 4 for char in cost) + sum(char == 1 for char in cost) // 4 + 1
    end = characters_in(text, most)
    assert sum(cost[:end]) <= 4 * most
    assert end == len(text) or sum(cost[: end + 1]) > 4 * most


def test_a_model_is_given_its_cache_by_the_name_that_its_version_of_transformers_has_for_it():
    before = SimpleNamespace(forward=lambda input_ids, past_key_values=None, use_cache=None: None)
    renamed = SimpleNamespace(forward=lambda input_ids, cache=None, use_cache=None: None)
    assert [name_of_cache(model) for model in (before, renamed)] == ["past_key_values", "cache"]
