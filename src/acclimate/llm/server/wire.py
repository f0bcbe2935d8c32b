"""Requests and answers of OpenAI-compatible APIs as JSON.

Used for live requests (`backends/server.py`) and for batch files (`batches.py`). Answers are untrusted and validated
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from acclimate.base.text import printable, quoted
from acclimate.llm.answers import reasoning
from acclimate.llm.decoding import Decoding
from acclimate.llm.lengths import about_tokens
from acclimate.llm.server.alignment import logprobs_within
from acclimate.llm.server.failures import message_of, one_line
from acclimate.llm.server.terms import Terms
from acclimate.records import Completion

_MOST_TOKENS = 10**9  # maximum tokens per answer
# Finish reasons of many servers; others are unknown.
_ENDS = {
    "stop": "stop eos eos_token end end_turn stop_sequence stop_token complete completed done finished",
    "length": "length max_tokens max_length max_output_tokens model_length token_limit",
    "content_filter": "content_filter content_filtered safety recitation blocklist prohibited_content spii refusal "
    "sensitive moderation guardrail_intervened",
    "error": "error network_error abort aborted cancelled canceled timeout failed insufficient_system_resource",
}
_END = {word: end for end, words in _ENDS.items() for word in words.split()}


def address(decoding: Decoding) -> str:
    """The path of a request, below the base address of the API."""
    return "/chat/completions" if decoding.chat else "/completions"


def request(model: str, prompt: str, decoding: Decoding, terms: Terms) -> dict[str, Any]:
    """The body of a request. Chat messages have no stop texts, as an answer may have a preamble."""
    body: dict[str, Any] = {"model": model, "temperature": decoding.temperature, "max_tokens": decoding.max_new_tokens}
    if decoding.top_p < 1:
        body["top_p"] = decoding.top_p
    if decoding.temperature:
        body["seed"] = decoding.draw_seed(prompt)
    if decoding.chat:
        body |= {"messages": [{"role": "user", "content": prompt}], "logprobs": True}
    else:  # the API takes at most four
        body |= {"prompt": prompt, "stop": list(decoding.stop)[:4], "logprobs": 1}
    return terms.applied(body)


def completion(prompt: str, answer: Mapping[str, Any], decoding: Decoding) -> Completion:
    """The completion in an answer's body. Raises ValueError for an invalid answer.

    Missing token counts are estimated from characters; log-probabilities cover all tokens of the answer, or none.
    """
    choice = _choice(answer)
    message = _message(choice)
    whole = printable(text_of(message.get("content")))
    finish = _finish(choice)
    if finish == "error":
        raise ValueError(f"finish_reason is {choice.get('finish_reason')!r}")
    if not whole.strip() and message.get("tool_calls"):
        raise ValueError("a call of a tool instead of an answer")
    if not whole.strip() and message.get("refusal"):
        finish = "content_filter"
    elif not whole.strip() and (finish == "length" or thinks(answer)):
        finish = "reasoning"  # reasoning without visible text
    elif finish != "content_filter":
        finish = decoding.ended(whole, finish)
    begin, end, _ = decoding.span(whole)
    used = _mapping(answer.get("usage"))
    return Completion(
        whole[begin:end],
        logprobs_within(whole, begin, end, choice.get("logprobs")),
        _count(used.get("prompt_tokens", used.get("input_tokens"))) or about_tokens(prompt),
        _count(used.get("completion_tokens", used.get("output_tokens"))) or about_tokens(whole),
        finish,
    )


def thinks(answer: Mapping[str, Any]) -> bool:
    """True if the model reasoned, in its answer or in a separate field."""
    choice = _choice(answer)
    message = _message(choice)
    details = _mapping(_mapping(answer.get("usage")).get("completion_tokens_details"))
    return (
        any(message.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
        or _count(details.get("reasoning_tokens")) > 0
        or any(map(_is_reasoning, _parts(message.get("content"))))
        or reasoning.has_reasoning(text_of(message.get("content")))
    )


def _choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices")
    if not choices and _mapping(answer.get("prompt_feedback") or answer.get("promptFeedback")):
        return {"finish_reason": "content_filter"}
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        keys = quoted(", ".join(answer))
        raise ValueError(f"an answer without a choice: a JSON object with the keys {keys}")
    if choices[0].get("error"):
        raise ValueError(message_of(choices[0]["error"]))
    return choices[0]


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message in a choice; a plain text becomes its content."""
    message = choice.get("message")
    if isinstance(message, Mapping):
        return message
    text = message if isinstance(message, str) else choice.get("text")
    if isinstance(text, str):
        return {"content": text}
    if _finish(choice) == "content_filter":
        return {}
    raise ValueError("an answer without a message")


def _finish(choice: Mapping[str, Any]) -> str:
    """Why an answer ended, by one name for all servers; some add a detail ("content_filter: SAFETY")."""
    finish = one_line(str(choice.get("finish_reason") or "stop")).casefold()[:40]
    return _END.get(finish.partition(":")[0], finish)


def text_of(content: Any) -> str:
    """The text of a message, which may have several parts, without reasoning. Raises ValueError if there is none."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = [part.get("text") for part in _parts(content) if not _is_reasoning(part)]
    texts = [text.get("value") if isinstance(text, Mapping) else text for text in texts]
    if not isinstance(content, list) and not any(isinstance(text, str) for text in texts):
        raise ValueError(f"an answer whose content is no text: {quoted(content)}")
    return "".join(text for text in texts if isinstance(text, str))


def _parts(content: Any) -> list[Mapping[str, Any]]:
    """The parts of a message that is not a plain text."""
    parts = content if isinstance(content, list) else [content] if isinstance(content, Mapping) else []
    return [{"text": part} if isinstance(part, str) else _mapping(part) for part in parts]


def _is_reasoning(part: Mapping[str, Any]) -> bool:
    return part.get("thought") is True or re.search("reason|think", str(part.get("type"))) is not None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int:
    """A number of tokens; 0 if invalid."""
    try:
        count = 0 if isinstance(value, bool) else int(value)
    except (ValueError, TypeError, OverflowError):
        return 0
    return count if 0 < count < _MOST_TOKENS else 0
