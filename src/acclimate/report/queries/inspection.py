"""Inspect a run's synthetic queries: statistics, reasons for rejections, and a sample.

Reads the output of `generate`, and of `filter` if that is current; needs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from acclimate.base.errors import unknown
from acclimate.base.text import columns, counted, single_spaced
from acclimate.corpus.language import code_of, stop_words
from acclimate.records import Doc
from acclimate.report.formatting import excerpt, share
from acclimate.report.layout import WIDTH, table
from acclimate.report.queries import statistics
from acclimate.report.queries.answers import read
from acclimate.report.queries.statistics import FOUND_AT, Answer, Statistics, statistics_of
from acclimate.stages.sample import Sampled

if TYPE_CHECKING:
    from acclimate.run.run import Run

NOT_FILTERED = "Not filtered yet: run acclimate filter to see which queries are kept."
_PROMPTS_A_BLOCK = 5  # columns that fit a terminal
_NOTES = {
    "logprob": "mean log-probability per token: the confidence of the LLM; 0 is certain",
    "overlap": "share of a query's content words that occur in its document; lower for real queries",
    "rank": "rank of its document in a search with the query; none: not among the top results",
}


class AnswerGroup(NamedTuple):
    """All answers, or those of one prompt."""

    name: str
    answers: list[Answer]
    statistics: Statistics


class Inspection(NamedTuple):
    """Everything there is to show."""

    corpus: str
    llm: str
    groups: list[AnswerGroup]  # all answers first, then each prompt's
    filters: tuple[str, ...] | None  # in order; None: not filtered yet
    reasons: list[tuple[str, int, list[Answer]]]  # from `statistics.reasons`
    sample: list[Answer]
    drawn_from: str  # description of what the sample was drawn from
    docs: dict[str, Doc]  # of the sample
    windows: Mapping[str, int]  # doc_id -> character at which the LLM's window began
    stop_words: Collection[str]  # stop words of the queries' language

    @property
    def whole(self) -> AnswerGroup:
        """The group of all answers."""
        return self.groups[0]


class Row(NamedTuple):
    """A line of the table of statistics."""

    name: str
    note: str  # how to read it
    cells: list[str]  # one per group


def inspect(
    run: Run, *, sample: int = 50, seed: int = 0, prompt: str | None = None, reason: str | None = None
) -> Inspection:
    """Inspect what a run's LLM wrote. `prompt` and `reason` narrow the sample; statistics always cover everything.

    Raises DataError for damaged files, SettingError for a prompt or reason without answers.
    """
    language = code_of(run.settings["generate"]["language"]) or run.settings["index"]["language"]
    common = stop_words(language)
    answers, filters, min_difference = read(run, common)
    prompts, reasons = statistics.by_prompt(answers), statistics.reasons(answers, seed=seed)
    if prompt is not None and (not isinstance(prompt, str) or prompt not in prompts):
        raise unknown("prompt", prompt, prompts)
    known = {name for name, _, _ in reasons}
    if reason is not None and (not isinstance(reason, str) or reason not in known):
        raise unknown("reason", reason, known)
    wanted = [answer for answer in answers if prompt in (None, answer.query.prompt) and reason in (None, answer.reason)]
    drawn = statistics.draw_answers(wanted, sample, seed=seed)
    narrowed = [f"{what} {name}" for what, name in (("prompt", prompt), ("reason", reason)) if name is not None]

    def group(name: str, of: list[Answer]) -> AnswerGroup:
        return AnswerGroup(name, of, statistics_of(of, language=language, min_difference=min_difference))

    return Inspection(
        corpus=single_spaced(Path(run.collection_name).name),
        llm=single_spaced(run.writer),
        groups=[group("all", answers), *(group(prompt_name(name), of) for name, of in prompts.items())],
        filters=filters,
        reasons=reasons,
        sample=drawn,
        drawn_from=single_spaced(counted(len(wanted), "answer") + (f" ({', '.join(narrowed)})" if narrowed else "")),
        docs={answer.query.doc_id: run.input.corpus[answer.query.doc_id] for answer in drawn},
        windows=sampled.windows if (sampled := run.output(Sampled)) else {},
        stop_words=common,
    )


def rows(inspection: Inspection) -> list[Row]:
    """The statistics as a table."""
    groups = [group.statistics for group in inspection.groups]

    def row(name: str, note: str, cell: Callable[[Statistics], str]) -> Row:
        return Row(name, note, [single_spaced(cell(group)) for group in groups])

    lines = [
        row("answers", "what the LLM wrote, one per document and prompt", lambda group: f"{group.answers:,}"),
        row("queries", "answers that are queries", lambda group: f"{group.queries:,}"),
    ]
    if inspection.filters is not None:
        lines += [
            row("kept", "queries that passed every filter", lambda group: f"{group.kept:,}"),
            row("kept, of answers", "", lambda group: share(group.kept / group.answers if group.answers else None)),
        ]
    lines += [
        row("words", "mean per query", lambda group: _number(group.words, 1)),
        row("overlap", _NOTES["overlap"], lambda group: share(group.overlap)),
        row(
            "question words",
            "queries with what, how, why and similar",
            lambda group: share(group.question_words),
        ),
        row("question marks", "queries that end with one", lambda group: share(group.question_marks)),
        row(
            "distinct-2",
            "share of distinct word pairs; falls with the number of queries",
            lambda group: _number(group.distinct_2),
        ),
        row(
            "same first words",
            "queries with the same first two words",
            lambda group: share(group.common_start),
        ),
        row("which are", "", lambda group: group.start or "-"),
        row(
            "near-duplicates",
            "queries with nearly the same words as another",
            lambda group: share(group.near_duplicates),
        ),
    ]
    if any(group.searched for group in groups):
        lines += [
            row("source first", "a search ranks their document first", lambda group: share(group.source_first)),
            row(f"source in top {FOUND_AT}", "", lambda group: share(group.source_in_top)),
        ]
    for score in dict.fromkeys(score for group in groups for score in group.scores):
        meaning = note(score) if score in _NOTES else f"mean of {note(score)}"
        lines.append(row(score_name(score), meaning, lambda group, score=score: _number(group.scores.get(score))))
    return lines


def note(score: str) -> str:
    """What a score means."""
    return _NOTES.get(score, "a score of the filter stage")


def score_name(name: str) -> str:
    """A score's display name."""
    return excerpt(name, 20)


def prompt_name(name: str) -> str:
    """A prompt's display name."""
    return single_spaced(name) or "(no name)"


def headline(inspection: Inspection) -> str:
    """Counts of answers, queries and kept queries."""
    whole = inspection.whole.statistics
    kept = "" if inspection.filters is None else f", {whole.kept:,} kept"
    return f"{counted(whole.answers, 'answer')}, {counted(whole.queries, 'query')}{kept}"


def text(inspection: Inspection) -> str:
    """Statistics and reasons for a terminal, at most 100 columns wide."""
    parts = [excerpt(f"{headline(inspection)} (LLM: {inspection.llm})", WIDTH)]
    statistics_rows = rows(inspection)
    for first in range(1, max(len(inspection.groups), 2), _PROMPTS_A_BLOCK):
        shown = [0, *range(first, min(first + _PROMPTS_A_BLOCK, len(inspection.groups)))]
        room = min(24, (WIDTH - 20) // len(shown) - 2)
        head = ["", *(excerpt(inspection.groups[column].name, room) for column in shown)]
        body = [[row.name, *(excerpt(row.cells[column], room) for column in shown)] for row in statistics_rows]
        parts.append("\n".join(columns([head, *body], "<" + ">" * len(shown))))
    if inspection.reasons:
        lines = [["rejected", "", "example"]]
        for reason, count, (example, *_) in inspection.reasons:
            doc_id, written = excerpt(example.query.doc_id, 40), excerpt(example.query.text, WIDTH)
            lines.append([excerpt(reason, 24), f"{count:,}", f"{doc_id}: {written or '(nothing)'}"])
        parts.append("\n".join(table(lines, "<><")))
    if inspection.filters is None:
        parts.append(NOT_FILTERED)
    return "\n\n".join(parts) + "\n"


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
