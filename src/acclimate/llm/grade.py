"""Have an LLM grade (query, document) pairs: how well does the document answer the query, 0 to 3?

An answer must be exactly one digit, whatever label or marks surround it. An unreadable answer is no grade, neither good
nor bad.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from acclimate import llm as llms
from acclimate.llm import prompts
from acclimate.llm.ask import Task, ask, tokens_of
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.estimate import Calls
from acclimate.llm.lengths import about_tokens
from acclimate.llm.protocol import LLM
from acclimate.records import Doc

MAX_DOC_TOKENS = 400
GRADE_TOKENS = 8  # leaves room for a word around the digit
_GRADE = re.compile(
    r"""
    [\W_]*(?:(?:the|final|overall|relevance|relevancy|grade|score|rating|answer|boxed|is)\b[\W_]*){0,4}  # a label
    (?<![-\d.,])([0-3])(?:\.0+)?
    (?:\s*(?:/|out\ of)\s*3)? (?:</\w+>)? [\W_]*(?:\([^()\d]*\)\s*)?
    """,
    re.IGNORECASE | re.VERBOSE,
)


class Pair(Protocol):
    """A query and a document, such as a synthetic query with its source document."""

    @property
    def query_id(self) -> str: ...
    @property
    def text(self) -> str: ...  # of the query
    @property
    def doc_id(self) -> str: ...


def grade(
    pairs: Sequence[Pair],
    corpus: Mapping[str, Doc],
    completions: Completions,
    llm: str | LLM,
    prompt: str = "grade",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[float], dict[str, int]]:
    """(grade of each pair, in order, from 0 to 3, NaN if unreadable; tokens of the answers).

    prompt: a name or TOML file whose target holds {query} and {document}.
    """
    texts = {pair.doc_id: corpus[pair.doc_id].default_text() for pair in pairs}
    answers, tokens = ask_grades(pairs, [texts[pair.doc_id] for pair in pairs], completions, llm, prompt, progress)
    return [read_grade(answer) for answer in answers], tokens


def ask_grades(
    pairs: Sequence[Pair],
    texts: Sequence[str],
    completions: Completions,
    llm: str | LLM,
    prompt: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    max_doc_tokens: int = MAX_DOC_TOKENS,
) -> tuple[list[str], dict[str, int]]:
    """(the LLM's answer about each pair, in order; tokens of the answers). texts: of the pairs' documents."""
    template = prompts.judge(prompt)
    model = llms.load(llm) if isinstance(llm, str) else llm
    documents = {text: model.cut(text.strip(), max_doc_tokens) for text in {*texts}}
    tasks = [
        Task(pair.query_id, template, 0, template.render(documents[text], pair.text))
        for pair, text in zip(pairs, texts, strict=True)
    ]
    answers = ask(model, Decoding(max_new_tokens=GRADE_TOKENS), completions, tasks, progress)
    return [answers[task].text for task in tasks], tokens_of(answers)


def calls_of_grading(n_pairs: int, prompt: str, query_tokens: int) -> Calls:
    """Rough estimate of the calls to grade pairs with their whole documents; `query_tokens`: of the longest query."""
    read = about_tokens(prompts.judge(prompt).render("")) + query_tokens + MAX_DOC_TOKENS
    return Calls(n_pairs, n_pairs * read, n_pairs * GRADE_TOKENS)


def read_grade(answer: str) -> float:
    """The grade in an answer; NaN if it is anything but a single grade."""
    match = _GRADE.fullmatch(unicodedata.normalize("NFKC", answer))  # some scripts have wide digits
    return float(match[1]) if match else math.nan
