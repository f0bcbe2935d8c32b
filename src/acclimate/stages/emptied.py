"""A stage that kept nothing, or answers that a setting would mend, told as what they are: how many, why, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate.base import distributed
from acclimate.base.errors import DataError
from acclimate.base.files import read_jsonl
from acclimate.base.text import shortened, single_spaced
from acclimate.run.workspace import Made

_LONGEST = 120  # characters of an example
_KEPT_NOTHING = {
    "generate": "the LLM wrote no usable query",
    "filter": "no query passed the filters",
    "mine": "no query got an example to train on",
    "label": "no list could be labelled",
}
# What helps, by the reason that most was turned down for.
_ADVICE = {
    "unfinished reasoning": "the model spent its tokens on reasoning (thinking) and came to no query: raise "
    "generate.max_new_tokens, or name a model that does not think aloud",
    "unfinished": "raise generate.max_new_tokens",
    "too long for the LLM": "lower generate.max_doc_tokens or generate.max_new_tokens",
    "refused": "the LLM or its server will not write of these documents: try another generate.llm or generate.prompt",
    "unusable answer": "what the server answers is no completion: is its address right?",
    "wrong language": "set generate.language",
    "logprob": "raise filter.keep_top_k",
    "round-trip": "raise filter.round_trip_k, or leave round-trip out of filter.filters",
    "judge": "lower filter.min_grade",
}
_TOLD = ("unfinished reasoning", "too long for the LLM", "unusable answer")  # even where others were good


def check(run_folder: Path, made: Mapping[str, Made], stage: str) -> None:
    """Raises DataError where a stage has kept nothing, so that none after it can work."""
    manifest = made[stage].manifest
    if stage == "generate" and manifest["out"] and not made[stage].resumed:
        _warn(manifest["dropped"])
    if stage in _KEPT_NOTHING and not manifest["out"]:
        raise DataError(_told(run_folder, made[stage]))


def _warn(dropped: Mapping[str, int]) -> None:
    for reason in _TOLD:
        if count := dropped.get(reason):
            distributed.warn("generate", f"{count:,} {reason}: {_ADVICE[reason]}")


def _told(run_folder: Path, made: Made) -> str:
    manifest: Mapping[str, Any] = made.manifest
    dropped = sorted(manifest["dropped"].items(), key=lambda item: (-item[1], item[0]))
    counts = ", ".join(f"{count:,} {reason}" for reason, count in dropped) or f"it read {manifest['in']:,}"
    message = f"{made.name}: {_KEPT_NOTHING[made.name]}: {counts}"
    common = dropped[0][0] if dropped else ""
    if advice := _ADVICE.get(common):
        message += f"; {advice}"
    if made.name == "generate":
        rows = [row for _, row in read_jsonl(made.folder / "rejects.jsonl") if row["reason"] == common]
        if rows:
            row = next((row for row in rows if row["text"].strip()), rows[0])
            shown = shortened(single_spaced(row["text"]), _LONGEST)
            message += f"; such as {repr(shown) if shown else 'that'} for {shortened(single_spaced(row['doc_id']), 60)}"
        message += f"; see {made.folder / 'rejects.jsonl'}"
    return f"{message}; look at them with: acclimate inspect {run_folder}"
