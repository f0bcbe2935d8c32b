"""How often a basis agrees with people's judgments on pairs of systems, and the table of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Signs = Mapping[tuple[str, str], int]  # pair -> 1: the first is better; -1: the second; 0: no significant difference


class Score(NamedTuple):
    """Counts of a basis over all pairs."""

    pairs: int
    right: int
    claims: int  # differences that it sees
    wrong: int  # of them, those that people do not see, or see the other way round
    reversed: int  # the latter
    differences: int  # that people see
    missed: int  # of them, those that it does not see

    def plus(self, other: Score) -> Score:
        return Score(*(ours + theirs for ours, theirs in zip(self, other, strict=True)))


NONE = Score(0, 0, 0, 0, 0, 0, 0)


def score(signs: Signs, reference: Signs) -> Score:
    rows = [(said, reference[pair]) for pair, said in signs.items()]
    return Score(
        pairs=len(rows),
        right=sum(said == is_so for said, is_so in rows),
        claims=sum(said != 0 for said, _ in rows),
        wrong=sum(said not in (0, is_so) for said, is_so in rows),
        reversed=sum(said * is_so < 0 for said, is_so in rows),
        differences=sum(is_so != 0 for _, is_so in rows),
        missed=sum(is_so != 0 and said == 0 for said, is_so in rows),
    )


def table(totals: Mapping[str, Score]) -> str:
    """A line for each basis."""
    lines = [
        "| basis | right | of its wins wrong | reversed | of people's differences missed |",
        "|---|---|---|---|---|",
    ]
    for basis, of in totals.items():
        right, wrong, reverse, missed = (
            f"{100 * part / max(1, whole):.0f} %"
            for part, whole in (
                (of.right, of.pairs), (of.wrong, of.claims), (of.reversed, of.claims), (of.missed, of.differences),
            )
        )  # fmt: skip
        lines.append(f"| {basis} | {right} | {wrong} | {reverse} | {missed} |")
    return "\n".join(lines)
