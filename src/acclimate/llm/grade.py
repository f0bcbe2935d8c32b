"""An LLM grades queries: how well does the source document answer each, 0 to 3?

The answer is read strictly: one digit, and nothing that could be another. What cannot be read is no grade: it is never
taken for a good or a bad one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from acclimate import llm as llms
from acclimate.llm import prompts
from acclimate.llm.ask import Task, ask, tokens_of
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.estimate import Calls
from acclimate.llm.lengths import CHARACTERS_PER_TOKEN
from acclimate.llm.protocol import LLM
from acclimate.records import Doc, SyntheticQuery

MAX_DOC_TOKENS = 400
GRADE_TOKENS = 8  # room for a word around the digit
_GRADE = re.compile(
    r"[\s*(]*(?:grade|score|rating)?[\s*:=]*([0-3])(?:\s*(?:/|out of)\s*3)?[\s*).]*(?:\([^()\d]*\)\s*)?", re.IGNORECASE
)


def grade(
    queries: Sequence[SyntheticQuery],
    corpus: Mapping[str, Doc],
    completions: Completions,
    llm: str | LLM,
    prompt: str = "grade",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[float], dict[str, int]]:
    """A grade from 0 to 3 for each query, in order, NaN where the LLM's answer is none; and the tokens of its answers.

    prompt: a name or TOML file whose target holds {query} and {document}.
    """
    template = prompts.judge(prompt)
    model = llms.load(llm) if isinstance(llm, str) else llm
    documents = {
        doc_id: model.cut(corpus[doc_id].default_text().strip(), MAX_DOC_TOKENS)
        for doc_id in {query.doc_id for query in queries}
    }
    tasks = [
        Task(query.query_id, template, 0, template.render(documents[query.doc_id], query.text)) for query in queries
    ]
    answers = ask(model, Decoding(max_new_tokens=GRADE_TOKENS), completions, tasks, progress)
    return [read_grade(answers[task].text) for task in tasks], tokens_of(answers)


def calls_of_grading(n_queries: int, prompt: str) -> Calls:
    """What grading so many queries takes, about, each with its whole document."""
    read = len(prompts.judge(prompt).prefix) // CHARACTERS_PER_TOKEN + MAX_DOC_TOKENS
    return Calls(n_queries, n_queries * read, n_queries * GRADE_TOKENS)


def read_grade(answer: str) -> float:
    """The grade that an answer is; NaN when it is something else, or more than one thing."""
    match = _GRADE.fullmatch(answer)
    return float(match[1]) if match else math.nan
