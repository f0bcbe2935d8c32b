"""What goes over the wire to an OpenAI-compatible API, and what comes back, as JSON: one request, one answer.

Servers are asked with it one by one (`server.py`), batch files are written and read with it (`batches.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from acclimate.llm.decoding import Decoding, about_tokens
from acclimate.records import Completion


def address(decoding: Decoding) -> str:
    """Where a request goes, below the base address of the API."""
    return "/chat/completions" if decoding.chat else "/completions"


def request(
    model: str, prompt: str, decoding: Decoding, *, logprobs: bool = True, limit: str = "max_tokens"
) -> dict[str, Any]:
    """The body of a request. A message to a chat model has no stops: its answer may announce itself first.

    limit: the name by which a server knows the number of new tokens.
    """
    body: dict[str, Any] = {
        "model": model,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        limit: decoding.max_new_tokens,
    }
    if decoding.temperature:
        body["seed"] = decoding.draw_seed(prompt)
    if decoding.chat:
        body["messages"] = [{"role": "user", "content": prompt}]
        return {**body, "logprobs": True} if logprobs else body
    body |= {"prompt": prompt, "stop": list(decoding.stop)[:4]}  # four are the most that the API takes
    return {**body, "logprobs": 1} if logprobs else body


def completion(prompt: str, answer: Mapping[str, Any], decoding: Decoding) -> Completion:
    """The completion in an answer's body. Raises ValueError for an answer that is none.

    Servers leave out what they like: tokens that were not counted are told from characters.
    """
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise ValueError("an answer without a choice")
    choice: Mapping[str, Any] = choices[0]
    logprobs: Mapping[str, Any] = choice.get("logprobs") or {}
    if decoding.chat:
        whole = (choice.get("message") or {}).get("content") or ""
        pieces = [(one["token"], one["logprob"]) for one in logprobs.get("content") or []]
    else:
        whole = choice.get("text") or ""
        pieces = list(zip(logprobs.get("tokens") or [], logprobs.get("token_logprobs") or [], strict=False))
    if not isinstance(whole, str):
        raise ValueError("an answer whose text is none")
    begin, end, is_whole = decoding.span(whole)
    finish = choice.get("finish_reason") or "stop"
    if finish == "length" and is_whole:
        finish = "stop"  # it went on behind the answer
    usage = answer.get("usage")
    used: Mapping[str, Any] = usage if isinstance(usage, Mapping) else {}
    return Completion(
        whole[begin:end],
        tuple(_within(pieces, begin, end)),
        _count(used.get("prompt_tokens")) or about_tokens(prompt),
        _count(used.get("completion_tokens")) or about_tokens(whole),
        finish if finish in ("length", "content_filter") else "stop",
    )


def _count(value: Any) -> int:
    """A number of tokens, 0 where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _within(pieces: Sequence[tuple[str, float | None]], begin: int, end: int) -> Iterator[float]:
    """The log-probabilities of the tokens that lie between two places of the text that they make up."""
    at = 0
    for token, logprob in pieces:
        if at >= end:
            return
        at += len(token)
        if at > begin and logprob is not None:
            yield min(logprob, 0.0)  # not the other way round: what is no number stays none
