"""Stage: an LLM reads docs and writes the query that each might answer (InPars v1, arXiv 2202.05144).

One doc in, one query out, greedily. Each doc is cut, never the prompt around it, so every prompt ends with its cue.
Answers come through the completion cache: what was answered before costs nothing, and a killed run goes on.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from acclimate import llm as llms
from acclimate import prompts
from acclimate.errors import SettingError
from acclimate.llm.completions import CHARACTERS_PER_TOKEN, Completions
from acclimate.records import LLM, Completion, Doc, SyntheticQuery
from acclimate.stages.clean import clean


@dataclass(frozen=True)
class Generated:
    """What `generate` made, what it turned down, and what it cost."""

    queries: list[SyntheticQuery]  # in the order of the docs, at most one each
    dropped: dict[str, int]  # docs without a query, by reason
    rejects: list[dict[str, str]]  # doc_id, text and reason of each of them
    cut: int  # docs longer than max_doc_tokens
    tokens: dict[str, int]  # prompt and completion, of all answers, cached ones included
    asked: dict[str, int]  # the same, of the answers that were not cached
    calls: int  # prompts that the LLM answered this time


class Estimate(NamedTuple):
    """Rough, on the high side: every doc is answered at full length and nothing is cached."""

    calls: int
    prompt_tokens: int
    completion_tokens: int


def generate(
    docs: Sequence[Doc],
    completions: Completions,
    *,
    llm: str | LLM = "embedded:smollm2-135m-instruct",
    prompt: str = "inpars",
    max_doc_tokens: int = 160,
    max_new_tokens: int = 40,
    progress: Callable[[int, int], None] | None = None,
) -> Generated:
    """A synthetic query for each doc for which the LLM writes a usable one.

    Parameters
    ----------
    llm
        LLM that writes: a local path, a Hugging Face id or embedded:NAME.
    prompt
        Prompt by name, or a TOML file of your own.
    max_doc_tokens
        Tokens of each document that the LLM reads.
    max_new_tokens
        Tokens after which an unfinished query is dropped.
    progress
        Called with (prompts answered, prompts in all) after each batch.
    """
    _check(max_doc_tokens=max_doc_tokens, max_new_tokens=max_new_tokens)
    template = prompts.load(prompt)
    model = llms.load(llm, max_new_tokens=max_new_tokens, stop=template.stop) if isinstance(llm, str) else llm
    whole = [doc.default_text().strip() for doc in docs]
    shown = [model.cut(text, max_doc_tokens) for text in whole]
    rendered = [template.render(text) if text else None for text in shown]

    before = completions.asked
    asked_for = [prompt for prompt in rendered if prompt is not None]
    answers = dict(zip(asked_for, completions.complete(model, asked_for, on_batch=_reporting(progress)), strict=True))
    after = completions.asked

    queries: list[SyntheticQuery] = []
    rejects: list[dict[str, str]] = []
    for doc, text, rendering in zip(docs, shown, rendered, strict=True):
        answer = answers[rendering] if rendering is not None else Completion("", (), 0, 0, "stop")
        query, reason = clean(answer.text, text, answer.finish_reason)
        if rendering is None:
            reason = "empty document"
        if reason is None:
            queries.append(SyntheticQuery(query_id(doc.doc_id, query), query, doc.doc_id, _mean(answer.logprobs)))
        else:
            rejects.append({"doc_id": doc.doc_id, "text": answer.text, "reason": reason})
    return Generated(
        queries=queries,
        dropped=dict(sorted(Counter(reject["reason"] for reject in rejects).items())),
        rejects=rejects,
        cut=sum(part != text for part, text in zip(shown, whole, strict=True)),
        tokens={
            "prompt": sum(answer.prompt_tokens for answer in answers.values()),
            "completion": sum(answer.completion_tokens for answer in answers.values()),
        },
        asked={
            "prompt": after.prompt_tokens - before.prompt_tokens,
            "completion": after.completion_tokens - before.completion_tokens,
        },
        calls=after.calls - before.calls,
    )


def estimate(
    docs: Sequence[Doc], *, prompt: str = "inpars", max_doc_tokens: int = 160, max_new_tokens: int = 40
) -> Estimate:
    """What `generate` would ask with these settings, told without loading an LLM: four characters to a token."""
    _check(max_doc_tokens=max_doc_tokens, max_new_tokens=max_new_tokens)
    frame = len(prompts.load(prompt).render("")) // CHARACTERS_PER_TOKEN
    texts = {doc.default_text().strip()[: max_doc_tokens * CHARACTERS_PER_TOKEN] for doc in docs} - {""}
    read = sum(frame + len(text) // CHARACTERS_PER_TOKEN + 1 for text in texts)
    return Estimate(len(texts), read, len(texts) * max_new_tokens)


def query_id(doc_id: str, text: str) -> str:
    """The id of a synthetic query: 16 hex digits over its source doc and its text."""
    return hashlib.sha256(f"{doc_id}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _reporting(progress: Callable[[int, int], None] | None) -> Callable[[int, int, list[Completion]], None] | None:
    return None if progress is None else lambda done, total, _: progress(done, total)


def _mean(logprobs: Sequence[float]) -> float:
    return math.fsum(logprobs) / len(logprobs) if logprobs else math.nan


def _check(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise SettingError(f"{name} is {value}; expected 1 or more")
