"""The synthetic queries of a run as one page. It loads nothing; its only script filters what is shown.

Documents and answers are untrusted: they are cleaned and escaped as in the report, and the page's content security
policy allows only the script whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from acclimate.base.files import write_text
from acclimate.base.text import single_spaced
from acclimate.base.words import words_of
from acclimate.llm.lengths import cut_at
from acclimate.llm.windows import from_window
from acclimate.records import Doc
from acclimate.report.formatting import excerpt, safe, share
from acclimate.report.queries import statistics
from acclimate.report.queries.answers import rejected_rows
from acclimate.report.queries.histogram import histograms
from acclimate.report.queries.inspection import NOT_FILTERED, Inspection, headline, note, prompt_name, rows, score_name
from acclimate.report.queries.statistics import Answer
from acclimate.report.template import template

PAGE = "queries.html"
_EXCERPT = 320  # characters shown of a document
_QUERY = 400


def write(inspection: Inspection, folder: Path) -> Path:
    """Write the page to the run's folder; returns its path."""
    write_text(folder / PAGE, render(inspection))
    return folder / PAGE


def render(inspection: Inspection) -> str:
    """The page's HTML; deterministic."""
    script = resources.files("acclimate.report").joinpath("templates/queries.js").read_text(encoding="utf-8")
    answers = inspection.whole.answers
    pictures = [
        (
            score_name(score),
            note(score),
            histograms([(group.name, group.answers) for group in inspection.groups], score),
        )
        for score in ("overlap", *statistics.score_names(answers))
    ]
    return template("queries.html.jinja").render(
        inspection=inspection,
        whole=inspection.whole.statistics,
        headline=headline(inspection),
        rows=rows(inspection),
        steps=_steps(inspection),
        reasons=safe(rejected_rows(inspection.reasons)),
        pictures=[picture for picture in pictures if picture[2]],
        sample=[_shown(answer, inspection) for answer in inspection.sample],
        not_filtered=NOT_FILTERED,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _steps(inspection: Inspection) -> list[dict[str, Any]]:
    """The funnel: each step with the number and the share of answers left after it."""
    steps = statistics.funnel(inspection.whole.answers, inspection.filters or ())
    before = [count for _, count in steps[:1] + steps[:-1]]
    return [
        {"name": single_spaced(name), "count": count, "lost": came - count, "share": count / max(1, before[0])}
        for (name, count), came in zip(steps, before, strict=True)
    ]


def _shown(answer: Answer, inspection: Inspection) -> dict[str, Any]:
    """An answer as template values."""
    query, doc = answer.query, inspection.docs[answer.query.doc_id]
    text = excerpt(query.text, _QUERY)
    state = "dropped" if answer.is_query else "no query"
    if answer.reason is None:
        state = "query" if inspection.filters is None else "kept"
    facts = [] if answer.overlap is None else [("overlap", share(answer.overlap))]
    facts += [(score_name(name), f"{value:.2f}") for name, value in answer.scores.items() if name != "rank"]
    if (rank := statistics.source_rank(answer)) is not None:
        facts.append(("rank", f"{rank:.0f}" if rank < math.inf else "none"))
    return {
        "text": _marked(text, doc.default_text(), inspection) if answer.is_query else text,
        "prompt": prompt_name(query.prompt),
        "state": state,
        "reason": single_spaced(answer.reason or ""),
        "facts": facts,
        "doc_id": single_spaced(query.doc_id),
        "title": excerpt(doc.title, 140),
        "document": _excerpt(doc, inspection.windows),
    }


def _excerpt(doc: Doc, windows: Mapping[str, int]) -> str:
    """The first sentences of what the LLM read of a document, on one line."""
    text = from_window(doc, windows).text.strip()
    shown = cut_at(text, _EXCERPT)
    return ("… " if windows.get(doc.doc_id) else "") + single_spaced(shown) + (" …" if shown != text else "")


def _marked(text: str, doc_text: str, inspection: Inspection) -> Markup:
    """A query with the content words marked that its document contains."""
    there = set(words_of(doc_text)).difference(inspection.stop_words)
    parts = re.split(r"(\w+)", text)  # every second part is a word
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if place % 2 and there.issuperset(words_of(part)) else part
        for place, part in enumerate(parts)
    )
