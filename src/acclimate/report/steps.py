"""Where a gain comes from: what each step from the unadapted to the adapted systems adds, and its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

Word = Literal["adds", "unclear", "worse"]

IN_WORDS: dict[Word, str] = {
    "adds": "adds",
    "unclear": "no clear effect",
    "worse": "makes it worse",
}
_CHANCE = "Each is tested alone: of twenty steps without an effect, one seems to have one."
WHAT_IT_IS = {
    "late interaction": "token vectors of the same encoder are added; scores are fused with equal weights, not ranks",
    "scores added": "the scores of the two are fused with equal weights, not their ranks",
    "weights chosen here": "the same retrievers, with weights chosen on held-out queries",
    "adapted students": "trained retrievers replace the originals where that did best on held-out queries",
    "feedback": "BM25 searches again with terms of the first documents that the hybrid finds",
    "reranker": "the reranker reorders the top documents",
}


def in_a_word(step: Mapping[str, Any]) -> Word:
    """What a step does to the ranking."""
    words: dict[str, Word] = {"WIN": "adds", "NO DIFFERENCE": "unclear", "REGRESSION": "worse"}
    return words[step["verdict"]]


def change(of: Mapping[str, float], shown: Callable[[float], str]) -> str:
    """`21 -> 32 ms`, `1.1 -> 118 MB`, and `118 MB` if nothing changes: before and after a step."""
    before, after = shown(of["from"]), shown(of["to"])
    if before == after:
        return after
    number, unit = before.rsplit(" ", 1)
    return f"{number if after.endswith(f' {unit}') else before} -> {after}"


def summary(steps: Sequence[Mapping[str, Any]]) -> str:
    """`Adds: late interaction. No clear effect: weights chosen here, adapted students.`, and how many are by chance."""
    by_word: dict[Word, list[str]] = {}
    for step in steps:
        by_word.setdefault(in_a_word(step), []).append(step["step"] + _where(step))
    said = [
        f"{text[0].upper()}{text[1:]}: {', '.join(by_word[word])}."
        for word, text in IN_WORDS.items()
        if word in by_word
    ]
    return " ".join([*said, *[_CHANCE] * (by_word.keys() != {"unclear"})])


def _where(step: Mapping[str, Any]) -> str:
    """` behind hybrid`, ` in bm25+reranker@1000=1`: tells apart the steps of several rerankers."""
    if step["step"] != "reranker":
        return ""
    return f" behind {step['from']}" if step["to"] == f"{step['from']}+reranker" else f" in {step['to']}"
