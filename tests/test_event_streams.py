"""Answers that a server sends as a stream of events, unasked: each is one answer, or none if it was cut."""

from __future__ import annotations

import json

import pytest

from acclimate.llm.decoding import Decoding
from acclimate.llm.server import wire
from acclimate.llm.server.client import read

CHAT = Decoding(chat=True)
Q = "what is a dhow"


def test_a_stream_of_events_is_one_answer():
    parts = ["what", " is", " a dhow"]
    rows = [{"choices": [{"delta": {"role": "assistant", "content": part}, "finish_reason": None}]} for part in parts]
    for number, (row, part) in enumerate(zip(rows, parts, strict=True), 1):
        row["choices"][0]["logprobs"] = {"content": [{"token": part, "logprob": -float(number)}]}
    rows += [{"choices": [{"delta": {}, "text": "", "finish_reason": reason}]} for reason in ("length", None)]
    rows += [{"choices": [], "usage": {"prompt_tokens": 50}}]
    text = ": ping\n\n" + "".join(f"data: {json.dumps(row)}\n\n" for row in rows) + "data: [DONE]\n\n"
    found = wire.completion("a prompt", read(text), CHAT)
    assert (found.text, found.finish_reason, found.prompt_tokens) == (Q, "length", 50)
    assert found.logprobs == (-1, -2, -3)
    assert read('data: {"error": {"message": "no"}}\n\n')["error"]


def test_a_stream_of_a_completion_is_one_answer():
    parts = [" what", " is\u2028", "a dhow\n"]  # a line separator that ends no line of the stream
    rows = [{"choices": [{"text": part, "logprobs": {"tokens": [part], "token_logprobs": [-1.0]}}]} for part in parts]
    rows += [{"choices": [{"text": "", "finish_reason": "stop"}]}]
    text = "".join(f"data: {json.dumps(row, ensure_ascii=False)}\r\n\r\n" for row in rows) + "data: [DONE]\r\n"
    found = wire.completion("a prompt", read(text), Decoding())
    assert (found.text, found.finish_reason, len(found.logprobs)) == (" what is\u2028a dhow", "stop", 3)


def test_a_stream_may_begin_with_any_field_break_its_data_over_lines_and_hold_other_choices():
    parts = [{"index": n % 2, "delta": {"content": [{"type": "text", "text": text}]}} for n, text in enumerate("abcd")]
    events = ["\n".join(f"data: {line}" for line in json.dumps({"choices": [p]}, indent=1).split("\n")) for p in parts]
    del parts[0]["index"]
    for start in ("id: 1\n", "retry: 3000\n\n", "event: message\n", ""):
        found = wire.completion("a prompt", read(start + "\n\n".join([*events, "data: [DONE]"])), CHAT)
        assert found.text == "ac"


def test_a_stream_that_was_cut_is_no_answer():
    row = {"choices": [{"delta": {"content": "what is"}, "finish_reason": None}]}
    with pytest.raises(ValueError, match="finish_reason"):
        wire.completion("a prompt", read(f"data: {json.dumps(row)}\n\n"), CHAT)
    assert wire.completion("a prompt", read(f"data: {json.dumps(row)}\n\ndata: [DONE]\n\n"), CHAT).text == "what is"


def test_the_last_account_of_a_stream_is_that_of_all_of_it_and_a_byte_order_mark_is_no_part_of_an_answer():
    rows = [{"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": n}} for n in (1, 2)]
    stream = "".join(f"data: {json.dumps(row)}\n\n" for row in rows) + "data: [DONE]\n\n"
    for text in (stream, f"\ufeff{stream}"):
        assert read(text)["usage"] == {"completion_tokens": 2}
    assert read('\ufeff{"choices": []}') == {"choices": []}
