"""What a reader should know of the queries that measured: those that count 0, were left out, or also made choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acclimate.base.text import counted
from acclimate.measure.named import of_a_cut_run
from acclimate.search.names import FIRST_STAGE


def left_out(count: int) -> str:
    """What became of queries to judge on that the run had learned from."""
    return (
        f"{counted(count, 'query was', 'queries were')} left out, as the run showed them to its LLM or trained on them."
    )


def query_notes(notes: Mapping[str, Any], count: int) -> list[str]:
    """What to know of the queries that measured. notes: of `evaluate`'s manifest, or a judgment's `queries`."""
    remarks: list[str] = []
    if learned := notes.get("learned", 0):
        remarks.append(left_out(learned))
    if chose := notes.get("chose", 0):
        remarks.append(
            f"{chose:,} of the {counted(count, 'query')} also made the choices of the run (weights, teacher, "
            "candidate), which favors what was chosen; judge on others for a fair verdict."
        )
    if empty := notes.get("nothing_relevant", 0):
        remarks.append(
            f"{empty:,} of the {counted(count, 'query')} have no relevant document and count 0, as in trec_eval."
        )
    if same := notes.get("same_text", 0):
        remarks.append(
            f"{same:,} of the {counted(count, 'query')} have the text of another; those of one text count together in "
            "tests and intervals."
        )
    if missing := notes.get("first_stage", {"missing": 0})["missing"]:
        remarks.append(f"{FIRST_STAGE} has no results for {missing:,} of the {counted(count, 'query')}; they count 0.")
    if too_low := notes.get("first_stage", {}).get("too_low"):
        remarks.append(f"{of_a_cut_run(FIRST_STAGE, notes['first_stage']['deepest'], too_low)}.")
    identical = notes.get("identical", {"queries": 0})
    if identical["queries"]:
        remarks.append(
            f"{identical['queries']:,} of the {counted(count, 'query')} are themselves documents of the collection: "
            + (
                "each is excluded from its own results, as in BEIR's ArguAna and Quora."
                if identical["left_out"]
                else "they are few, so they are not excluded from their own results."
            )
        )
    return remarks
