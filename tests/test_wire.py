"""An answer out of a server's JSON: whatever it holds, a completion that can be kept, or a ValueError."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from acclimate.llm import completion_json
from acclimate.llm.decoding import Decoding
from acclimate.llm.server import wire
from acclimate.llm.server.alignment import logprobs_within
from acclimate.llm.server.terms import Terms

CHAT = Decoding(chat=True)
Q = "what is a dhow"
NO_CHOICE = "an answer without a choice: a JSON object with the keys '{}'"


def answer(content, finish="stop", logprobs=None, usage=None, **message):
    choice = {"finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return {"choices": [{**choice, "logprobs": logprobs}], "usage": usage}


def completion(*args, **more):
    return wire.completion("a prompt", answer(*args, **more), CHAT)


# What a request holds


def test_what_is_a_default_is_not_sent_and_what_is_refused_is_left_out():
    messages = [{"role": "user", "content": "p"}]
    limits = {"model": "m", "max_tokens": 48}
    chat = {"messages": messages, "temperature": 0, "logprobs": True}
    assert wire.request("m", "p", CHAT, Terms()) == {**limits, **chat}
    drawn = Decoding(temperature=0.5, top_p=0.9, stop=tuple("abcde"))
    sampling = {"temperature": 0.5, "top_p": 0.9, "seed": drawn.draw_seed("p"), "stop": [*"abcd"]}  # at most four stops
    assert wire.request("m", "p", drawn, Terms()) == {**limits, **sampling, "prompt": "p", "logprobs": 1}
    terms = Terms(("logprobs", "seed", "top_p", "temperature", "stop"), "max_completion_tokens")
    assert sorted(wire.request("m", "p", drawn, terms)) == ["max_completion_tokens", "model", "prompt"]
    assert wire.request("m", "p", CHAT, Terms(thinks=True))["chat_template_kwargs"] == {"enable_thinking": False}


# What an answer is


@pytest.mark.parametrize(
    ("found", "text", "finish"),
    [
        (answer(Q), Q, "stop"),
        (answer(Q, None), Q, "stop"),
        (answer(Q, "eos"), Q, "stop"),
        (answer(Q, "STOP"), Q, "stop"),
        (answer(Q, "end_turn"), Q, "stop"),
        (answer(Q, "max_tokens"), Q, "length"),
        (answer(Q, "SAFETY"), Q, "content_filter"),
        (answer(Q, "whatever else"), Q, "whatever else"),
        (answer(Q, "Why " + 99 * "x"), Q, "why " + 36 * "x"),
        (answer(Q, refusal="I can't"), Q, "stop"),
        (answer(f"{Q}\nbecause", "whatever else"), Q, "stop"),
        (answer(f"{Q}\nbecause", "content_filter"), Q, "content_filter"),
        (answer([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": Q}]), Q, "stop"),
        (answer([Q[:4], {"text": Q[4:]}]), Q, "stop"),
        (answer([{"type": "reasoning", "text": "hm"}, {"type": "text", "text": Q}]), Q, "stop"),
        (answer([{"type": "thinking", "text": "hm"}]), "", "reasoning"),
        (answer([{"thought": True, "text": "hm"}, {"text": Q}]), Q, "stop"),
        (answer([{"type": "text", "text": {"value": Q, "annotations": []}}]), Q, "stop"),
        (answer({"type": "text", "text": Q}), Q, "stop"),
        (answer([]), "", "stop"),
        (answer(None, refusal="I can't"), "", "content_filter"),
        (answer(None, "content_filter: PROHIBITED_CONTENT"), "", "content_filter"),
        ({"choices": [{"message": None, "finish_reason": "SAFETY"}]}, "", "content_filter"),
        ({"choices": [], "prompt_feedback": {"block_reason": "SAFETY"}}, "", "content_filter"),
        (answer(None, "length"), "", "reasoning"),
        (answer("", "length"), "", "reasoning"),
        (answer(None, reasoning_content="hm"), "", "reasoning"),
        (answer(None, reasoning="hm"), "", "reasoning"),
        (answer("", usage={"completion_tokens_details": {"reasoning_tokens": 40}}), "", "reasoning"),
        (answer("<think>hm\nhm", "length"), "", "reasoning"),
        (answer(f"<think>hm\nhm</think>\n\n{Q}\nfor"), Q, "stop"),
        (answer(Q, reasoning_content="hm"), Q, "stop"),
        ({"choices": [{"text": Q, "finish_reason": "stop"}]}, Q, "stop"),
        ({"choices": [{"message": Q}]}, Q, "stop"),
        (answer(Q + "\ud83d"), Q, "stop"),
        (answer("😀 what"), "😀 what", "stop"),
        (answer("what\x00 is\x1b[31m it"), "what is[31m it", "stop"),
    ],
)
def test_what_servers_call_an_answer_is_read(found, text, finish):
    got = wire.completion("a prompt", found, CHAT)
    assert (got.text, got.finish_reason) == (text, finish)
    assert completion_json.load(completion_json.dump(got)) == got


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, NO_CHOICE.format("")),
        ({"choices": None}, NO_CHOICE.format("choices")),
        ({"choices": []}, NO_CHOICE.format("choices")),
        ({"choices": {"message": Q}}, NO_CHOICE.format("choices")),
        ({"choices": [None]}, NO_CHOICE.format("choices")),
        ({"type": "message", "content": [{"text": Q}]}, NO_CHOICE.format("type, content")),
        ({"choices": [{"finish_reason": "stop"}]}, "an answer without a message"),
        ({"choices": [{"message": None}]}, "an answer without a message"),
        ({"choices": [{"message": {"content": 17}}]}, "an answer whose content is no text: 17"),
        (
            {"choices": [{"message": {"content": {"query": Q}}}]},
            f"an answer whose content is no text: {{'query': '{Q}'}}",
        ),
        ({"choices": [{"message": {"content": Q}, "error": {"message": "gone"}}]}, "gone"),
        (answer(None, "tool_calls", tool_calls=[{"function": {}}]), "a call of a tool instead of an answer"),
        (answer(Q, "error"), "finish_reason is 'error'"),
        (answer(Q, "insufficient_system_resource"), "finish_reason is 'insufficient_system_resource'"),
    ],
)
def test_what_is_no_answer_is_refused(found, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        wire.completion("a prompt", found, CHAT)


@pytest.mark.parametrize(
    ("found", "thinks"),
    [
        (answer(Q), False),
        (answer(f"<think>hm</think>{Q}"), True),
        (answer(Q, reasoning="hm"), True),
        (answer(Q, usage={"completion_tokens_details": {"reasoning_tokens": 1}}), True),
        (answer(Q, usage={"completion_tokens_details": {"reasoning_tokens": 0}}), False),
    ],
)
def test_a_model_that_reasons_is_known_by_its_text_its_fields_or_its_usage(found, thinks):
    assert wire.thinks(found) == thinks


@pytest.mark.parametrize("usage", [10**25, -1, "many", True, None, [], math.nan, math.inf, {"a": 1}])
def test_counts_that_are_none_are_told_from_characters(usage):
    found = completion(Q, usage={"prompt_tokens": usage, "completion_tokens": usage})
    assert (found.prompt_tokens, found.completion_tokens) == (3, 4)


def test_counts_that_are_written_otherwise_are_read():
    found = completion(Q, usage={"prompt_tokens": 50.0, "completion_tokens": "7"})
    assert (found.prompt_tokens, found.completion_tokens) == (50, 7)
    found = completion(Q, usage={"input_tokens": 50, "output_tokens": 7})
    assert (found.prompt_tokens, found.completion_tokens) == (50, 7)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["stop", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "token", "logprob", "bytes", "tokens", "text"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(content=ANY, finish=ANY, logprobs=ANY, usage=ANY, more=ANY)
@example(content=Q, finish="stop", logprobs={"content": [{"token": Q, "logprob": -math.inf}]}, usage=None, more=None)
def test_whatever_an_answer_holds_it_can_be_kept_or_is_none(content, finish, logprobs, usage, more):
    for found in (answer(content, finish, logprobs, usage, reasoning=more), {"choices": [more, content]}):
        try:
            got = wire.completion("a prompt", found, CHAT)
        except ValueError:
            continue
        assert completion_json.load(completion_json.dump(got)) == got


# Log-probabilities


def tokens(parts, way):
    """Tokens as servers write them; a token is some bytes."""
    names = {
        "text": lambda part: part.decode(),
        "bytes beside": lambda part: "".join(f"\\x{byte:02x}" for byte in part),
        "escapes": lambda part: "bytes:" + "".join(f"\\x{byte:02x}" for byte in part),
        "byte tokens": lambda part: part.decode() if len(part) > 1 or part < b"\x80" else f"<0x{part.hex().upper()}>",
        "replaced": lambda part: part.decode("utf-8", "replace"),
        "marks": lambda part: part.decode("utf-8", "replace").replace(" ", "Ġ").replace("\n", "Ċ"),
    }
    rows = [{"token": names[way](part), "logprob": -float(n)} for n, part in enumerate(parts, 1)]
    if way == "bytes beside":
        rows = [{**row, "bytes": list(part)} for row, part in zip(rows, parts, strict=True)]
    return rows


@given(
    text=st.text(st.sampled_from("ab é問😀\n"), min_size=1, max_size=14),
    cuts=st.sets(st.integers(1, 50), max_size=12),
    span=st.tuples(st.integers(0, 14), st.integers(0, 14)),
    way=st.sampled_from(["text", "bytes beside", "escapes", "replaced", "marks"]),
)
@example(text="問 a", cuts={1, 2, 3}, span=(0, 3), way="replaced")
def test_each_token_of_a_part_of_the_text_counts_and_no_other(text, cuts, span, way):
    raw = text.encode()
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    if way == "text":  # a character a token at least
        whole = {len(text[:at].encode()) for at in range(len(text) + 1)}
        places = [place for place in places if place in whole]
    parts = [raw[a:b] for a, b in pairwise(places)]
    begin, end = sorted(min(at, len(text)) for at in span)
    first, last = len(text[:begin].encode()), len(text[:end].encode())
    wanted = tuple(-float(n) for n, (a, b) in enumerate(pairwise(places), 1) if a < last and b > first and first < last)
    found = logprobs_within(text, begin, end, {"content": tokens(parts, way)})
    if way in ("replaced", "marks"):  # where a character's parts cannot be told apart, its place can
        assert (
            set(wanted) <= set(found) or not found or "\ufffd" in "".join(p.decode("utf-8", "replace") for p in parts)
        )
    else:
        assert found == wanted


@pytest.mark.parametrize("way", ["bytes beside", "escapes", "byte tokens", "replaced"])
def test_a_character_of_several_tokens_loses_none(way):
    text = "Was ist 問 für ein Boot?\nDanach"
    raw = text.encode()
    at = raw.index("問".encode())
    places = [0, 3, 7, at, at + 1, at + 2, at + 3, at + 8, raw.index(b"\n"), raw.index(b"\n") + 1, len(raw)]
    parts = [raw[a:b] for a, b in pairwise(places)]
    found = logprobs_within(text, 0, text.index("\n"), {"content": tokens(parts, way)})
    assert found == tuple(-float(n) for n in range(1, 9))


@pytest.mark.parametrize(
    ("names", "count"),
    [
        ([" what", " is", " a", " dhow"], 4),  # the server took the first blank off the text
        (["\n", "what", " is", " a", " dhow"], 4),
        (["▁what", "▁is", "▁a", "▁dhow"], 4),
        (["what", " is", " a", " dhow", "<|im_end|>"], 4),
        (["what", " is", " a", " dhow", ""], 4),
        (["token_id:1", "token_id:2", "token_id:3", "token_id:4"], 4),
        ([None, None, None, None], 4),
        (["what", " is"], 0),  # some are missing
        (["a"], 0),
        ([], 0),
    ],
)
def test_tokens_as_servers_write_them_are_found_or_none_is(names, count):
    content = [{"token": name, "logprob": -0.5, "bytes": None} for name in names]
    assert logprobs_within(Q, 0, len(Q), {"content": content}) == (-0.5,) * count
    old = {"tokens": names, "token_logprobs": [-0.5] * len(names), "top_logprobs": None}
    for odd in ({}, {"content": 7}, {"content": "what"}):
        assert logprobs_within(Q, 0, len(Q), odd | old) == (-0.5,) * count


@pytest.mark.parametrize("odd", [-math.inf, math.inf, 0.5, math.nan, None, "-1", True, [], 10**400, -1e308])
def test_a_log_probability_that_is_no_number_leaves_the_query_without_any(odd):
    content = [{"token": "what is", "logprob": -1.0}, {"token": " a dhow", "logprob": odd}]
    assert logprobs_within(Q, 0, len(Q), {"content": content}) == ()
    assert logprobs_within(Q, 0, 7, {"content": content}) == (-1.0,)


def test_a_probability_that_was_rounded_above_1_is_1():
    logprobs = {"content": [{"token": "what", "logprob": 1e-6}, {"token": " now", "logprob": -1.0}]}
    assert logprobs_within("what now", 0, 8, logprobs) == (0.0, -1.0)
