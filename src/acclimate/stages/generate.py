"""Stage: an LLM reads docs and writes the query that each might answer (InPars v1, arXiv 2202.05144).

One doc in, one query out, greedily; more than one where the doc is shown to several prompts. Each doc is cut, never the
prompt around it, so every prompt ends with its cue. Answers come through the completion cache: what was answered
before costs nothing, and a killed run goes on.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

    queries: list[SyntheticQuery]  # in the order of the docs, at most `per_doc` each
    dropped: dict[str, int]  # answers that are no query, by reason
    rejects: list[dict[str, str]]  # doc_id, prompt, text and reason of each of them
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
    prompt: tuple[str, ...] = ("question", "keyword", "claim"),
    per_doc: int = 1,
    max_doc_tokens: int = 160,
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Generated:
    """Synthetic queries for each doc, as far as the LLM writes usable ones.

    Parameters
    ----------
    llm
        LLM that writes: a local path, a Hugging Face id or embedded:NAME.
    prompt
        Prompts by name, or TOML files of your own. Several share the documents out, NAME:2 with twice the share.
    per_doc
        Queries per document, each from another prompt where there are so many.
    max_doc_tokens
        Tokens of each document that the LLM reads.
    max_new_tokens
        Tokens after which an unfinished query is dropped.
    temperature
        0 always takes the likeliest token; higher is more varied and less sure.
    top_p
        With a temperature: only the likeliest tokens that make up this share are drawn.
    seed
        Of what is drawn.
    progress
        Called with (prompts answered, prompts in all) after each batch.
    """
    _check(per_doc=per_doc, max_doc_tokens=max_doc_tokens, max_new_tokens=max_new_tokens)
    mix = prompts.load_mix(prompt)
    if isinstance(llm, str):
        decoding = {"temperature": temperature, "top_p": top_p, "seed": seed}
        model = llms.load(llm, max_new_tokens=max_new_tokens, stop=mix.stop, **decoding)
    else:
        model = llm
    whole = {doc.doc_id: doc.default_text().strip() for doc in docs}
    shown = {doc_id: model.cut(text, max_doc_tokens) for doc_id, text in whole.items()}
    tasks = [(doc.doc_id, template) for doc in docs for template in mix.share_out(doc.doc_id, per_doc)]

    before = completions.asked
    answers = _ask(model, completions, mix, [task for task in tasks if shown[task[0]]], shown, progress)
    after = completions.asked

    queries: dict[str, SyntheticQuery] = {}
    rejects: list[dict[str, str]] = []
    for doc_id, template in tasks:
        answer = answers.get((doc_id, template.name), Completion("", (), 0, 0, "stop"))
        text, reason = clean(answer.text, shown[doc_id], answer.finish_reason, template.prefix)
        key = query_id(doc_id, text)
        if not shown[doc_id]:
            reason = "empty document"
        elif reason is None and key in queries:
            reason = "same query from two prompts"
        if reason is None:
            queries[key] = SyntheticQuery(key, text, doc_id, _mean(answer.logprobs), template.name)
        else:
            rejects.append({"doc_id": doc_id, "prompt": template.name, "text": answer.text, "reason": reason})
    different = {
        template.render(shown[doc_id]): answers[doc_id, template.name] for doc_id, template in tasks if shown[doc_id]
    }
    return Generated(
        queries=list(queries.values()),
        dropped=dict(sorted(Counter(reject["reason"] for reject in rejects).items())),
        rejects=rejects,
        cut=sum(shown[doc_id] != text for doc_id, text in whole.items()),
        tokens={
            "prompt": sum(answer.prompt_tokens for answer in different.values()),
            "completion": sum(answer.completion_tokens for answer in different.values()),
        },
        asked={
            "prompt": after.prompt_tokens - before.prompt_tokens,
            "completion": after.completion_tokens - before.completion_tokens,
        },
        calls=after.calls - before.calls,
    )


def _ask(
    model: LLM,
    completions: Completions,
    mix: prompts.Mix,
    tasks: Sequence[tuple[str, prompts.Prompt]],
    shown: Mapping[str, str],
    progress: Callable[[int, int], None] | None,
) -> dict[tuple[str, str], Completion]:
    """(doc_id, name of the prompt) -> answer. Prompt by prompt, so that a batch shares all but the doc."""
    answers: dict[tuple[str, str], Completion] = {}
    rendered = {
        name: [(doc_id, t.render(shown[doc_id])) for doc_id, t in tasks if t.name == name] for name in mix.names
    }
    total = sum(len({text for _, text in asked}) for asked in rendered.values())
    done = 0

    def report(of_these: int, _total: int, _batch: list[Completion]) -> None:
        if progress is not None:
            progress(done + of_these, total)

    for name, asked in rendered.items():
        texts = [text for _, text in asked]
        found = completions.complete(model, texts, on_batch=report)
        answers.update(((doc_id, name), answer) for (doc_id, _), answer in zip(asked, found, strict=True))
        done += len(set(texts))
    return answers


def estimate(
    docs: Sequence[Doc],
    *,
    prompt: tuple[str, ...] = ("question", "keyword", "claim"),
    per_doc: int = 1,
    max_doc_tokens: int = 160,
    max_new_tokens: int = 40,
) -> Estimate:
    """What `generate` would ask with these settings, told without loading an LLM: four characters to a token."""
    _check(per_doc=per_doc, max_doc_tokens=max_doc_tokens, max_new_tokens=max_new_tokens)
    mix = prompts.load_mix(prompt)
    asked = {
        template.render(doc.default_text().strip()[: max_doc_tokens * CHARACTERS_PER_TOKEN])
        for doc in docs
        if doc.default_text().strip()
        for template in mix.share_out(doc.doc_id, per_doc)
    }
    read = sum(len(text) // CHARACTERS_PER_TOKEN + 1 for text in asked)
    return Estimate(len(asked), read, len(asked) * max_new_tokens)


def query_id(doc_id: str, text: str) -> str:
    """The id of a synthetic query: 16 hex digits over its source doc and its text."""
    return hashlib.sha256(f"{doc_id}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _mean(logprobs: Sequence[float]) -> float:
    return math.fsum(logprobs) / len(logprobs) if logprobs else math.nan


def _check(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise SettingError(f"{name} is {value}; expected 1 or more")
