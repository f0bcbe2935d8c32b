"""Sort LLM answers into queries and rejects with reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from acclimate.base.words import normalized
from acclimate.corpus.formats import synthetic_id
from acclimate.llm.ask import Task
from acclimate.records import Completion, SyntheticQuery

CLEANINGS = ("strict", "inpars")
_UNASKED = Completion("", (), 0, 0, "stop")


def sort_answers(
    tasks: Sequence[Task],
    answers: Mapping[Task, Completion],
    doc_texts: Mapping[str, str],
    *,
    cleaning: str,
    searches: Sequence[str],
    language: str,
) -> tuple[list[SyntheticQuery], list[dict[str, str]]]:
    """(queries in the order of tasks, without duplicates per doc; rejects: doc_id, prompt, text and reason).

    doc_texts: what prompts showed of each doc; blank ones were not asked about. searches: real queries that prompts
    showed.
    """
    from acclimate.llm.answers.clean import clean, first_line  # slow to import: compiles its patterns

    copies = set(map(normalized, searches))
    queries: dict[str, SyntheticQuery] = {}
    rejects: list[dict[str, str]] = []
    for task in tasks:
        doc_text, answer = doc_texts[task.doc_id], answers.get(task, _UNASKED)
        if cleaning == "inpars":
            text, reason = first_line(answer.text, answer.finish_reason)
        else:
            shown = "\n".join([task.prompt.prefix, *searches])
            text, reason = clean(answer.text, doc_text, answer.finish_reason, shown, language)
            reason = "copy of an example" if normalized(text) in copies else reason
        query_id = synthetic_id(task.doc_id, text)
        if not doc_text.strip():
            reason = "empty document"
        elif reason is None and query_id in queries:
            reason = "same query twice"
        if reason is None:
            log_probs = answer.logprobs
            mean = math.fsum(log_probs) / len(log_probs) if log_probs else math.nan
            queries[query_id] = SyntheticQuery(query_id, text, task.doc_id, mean, task.prompt.name, log_probs)
        else:
            rejects.append({"doc_id": task.doc_id, "prompt": task.prompt.name, "text": answer.text, "reason": reason})
    return list(queries.values()), rejects
