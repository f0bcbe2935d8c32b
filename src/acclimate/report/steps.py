"""Where a gain comes from: what each step from what people have to what a run made adds, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

Word = Literal["adds", "unclear", "worse"]

IN_WORDS: dict[Word, str] = {
    "adds": "adds",
    "unclear": "adds nothing that can be told from chance",
    "worse": "makes it worse",
}
WHAT_IT_IS = {
    "late interaction": "token vectors of the same encoder join the two; scores are added in equal parts, not ranks",
    "scores added": "scores of the two are added in equal parts, not ranks",
    "weights chosen here": "the same ones, each counting for what did best on held-out queries",
    "adapted students": "retrievers that learned here, in the place of their kind where that did best on them",
    "reranker": "the reranker orders the first documents",
}


def in_a_word(step: Mapping[str, Any]) -> Word:
    """What a step does to the ranking."""
    words: dict[str, Word] = {"WIN": "adds", "NO DIFFERENCE": "unclear", "REGRESSION": "worse"}
    return words[step["verdict"]]


def change(of: Mapping[str, float], shown: Callable[[float], str]) -> str:
    """`21 -> 32 ms`, `1.1 -> 118 MB`, and `118 MB` where nothing changes: what it was before a step, and after."""
    before, after = shown(of["from"]), shown(of["to"])
    if before == after:
        return after
    number, unit = before.rsplit(" ", 1)
    return f"{number if after.endswith(f' {unit}') else before} -> {after}"


def summary(steps: Sequence[Mapping[str, Any]]) -> str:
    """`Adds: late interaction. Adds nothing that can be told from chance: weights chosen here, adapted students.`"""
    by_word: dict[Word, list[str]] = {}
    for step in steps:
        by_word.setdefault(in_a_word(step), []).append(step["step"] + _where(step))
    return " ".join(
        f"{said[0].upper()}{said[1:]}: {', '.join(by_word[word])}."
        for word, said in IN_WORDS.items()
        if word in by_word
    )


def _where(step: Mapping[str, Any]) -> str:
    """` behind hybrid`, ` in bm25+reranker@1000=1`: of a reranker, of which there may be several."""
    if step["step"] != "reranker":
        return ""
    return f" behind {step['from']}" if step["to"] == f"{step['from']}+reranker" else f" in {step['to']}"
