"""Turn scored candidates into the lists that students learn from, one teacher after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from acclimate.base.spilled import Kept, collect
from acclimate.learn.teachers.lists import rank_of_source, windows_of
from acclimate.records import NWay
from acclimate.search.candidates import Candidates, min_max
from acclimate.search.members import Ids
from acclimate.search.scales import NONE, PERCENTILE, Scale, as_it_is, combine

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = "nothing but false negatives"
ALIKE = "of the log, everything rated alike"  # without a known relevant document, equal scores mean nothing
ALONE = "nothing to compare is found"
LOW = "the teacher ranks the source document too low"
POOR = "the teacher finds no good document"


class Rules(NamedTuple):
    """Settings of `stages.label` for turning scored candidates into lists."""

    normalize: str
    windows: int
    source_within: int
    drop_lowest: float
    false_negatives: str
    false_negative_share: float


class ScoredLists(NamedTuple):
    """Candidates with the scores of all teachers, and what belongs to each list."""

    candidates: Sequence[Candidates]
    sources: Sequence[int | None]  # row of each query's source document; None for queries of a log
    ids: Ids
    scale: Scale  # normalizes scores before they are added
    order: Mapping[str, float]  # weights of the members that ranked the candidates
    rated: Sequence[NDArray[np.int64]] = ()  # positions, in each list, of the candidates that `raters` scored
    raters: Collection[str] = ()  # scorers that scored a part of each list only

    def shown_to(self, weights: Mapping[str, float]) -> Iterator[Candidates]:
        """The lists of a teacher with these weights; candidates without any score of it are left out."""
        if not all(name in self.raters for name, weight in weights.items() if weight):
            yield from self.candidates
            return
        for candidates, places in zip(self.candidates, self.rated, strict=True):
            yield candidates.select(places)


class Turn(NamedTuple):
    """Training and held-out lists with the scores of one teacher, source document first if there is one."""

    teacher: str
    train: Kept[NWay]
    dev: Kept[NWay]


class Turns(NamedTuple):
    """The lists of each teacher, and what became of the others."""

    turns: list[Turn]
    false_negatives: int  # candidates above the threshold share of the source's score
    dropped: dict[str, int]  # reason -> number of queries or lists


def turns_of(
    teachers: Sequence[tuple[str, Mapping[str, float]]],
    lists: ScoredLists,
    in_dev: Collection[str],
    rules: Rules,
    scratch: Path | None = None,
) -> Turns:
    """Training and held-out lists of each teacher.

    teachers: (name, weights of its scorers). in_dev: ids of held-out queries. scratch: a folder to hold lists; None:
    memory.
    """
    turns: list[Turn] = []
    n_false, dropped = 0, Counter({EMPTY: 0} if rules.false_negatives != "keep" else {})
    for name, weights in teachers:
        turn, teacher = Turn(name, collect((), scratch), collect((), scratch)), _Teacher(weights, lists, rules)
        shown = zip(lists.shown_to(weights), lists.sources, teacher.reasons_to_drop(), strict=True)
        for candidates, source, reason in shown:
            if reason:
                dropped[reason] += 1
                continue
            for part in windows_of(candidates, source, lists.order, lists.ids, rules.windows):
                example, n_in_list, reason = teacher.example(part, source)
                n_false += n_in_list
                if reason:
                    dropped[reason] += 1
                else:
                    (turn.dev if example.query_id in in_dev else turn.train).append(example)
        turns.append(turn)
    return Turns(turns, n_false, dict(dropped))


class _Teacher(NamedTuple):
    """The weighted scores of a teacher, as training examples."""

    weights: Mapping[str, float]
    lists: ScoredLists
    rules: Rules

    def reasons_to_drop(self) -> list[str]:
        """The reason to drop each query, or "": where the teacher is unsure it says little (CADET)."""
        rules, ids, sources = self.rules, self.lists.ids, self.lists.sources
        reasons, tops = [""] * len(sources), [np.inf] * len(sources)
        # A single teacher ranks by its own scores: percentiles are clipped, so they tie its best documents.
        to_rank = as_it_is if sum(weight > 0 for weight in self.weights.values()) == 1 else self.lists.scale
        for number, (candidates, source) in enumerate(zip(self.lists.shown_to(self.weights), sources, strict=True)):
            if len(candidates.rows) < 2:
                reasons[number] = ALONE
            elif rules.source_within or rules.drop_lowest:
                scores = combine(candidates, self.weights, to_rank)
                rank = 1 if source is None else rank_of_source(scores, candidates, source, ids)
                reasons[number] = LOW if 0 < rules.source_within < rank else ""
                tops[number] = float(scores.max())
        sure = [top for top, reason in zip(tops, reasons, strict=True) if not reason]
        least = float(np.quantile(sure, rules.drop_lowest)) if rules.drop_lowest and sure else -np.inf
        return [reason or (POOR if top < least else "") for top, reason in zip(tops, reasons, strict=True)]

    def example(self, candidates: Candidates, source: int | None) -> tuple[NWay, int, str]:
        """(training example, its number of false negatives, the reason to drop it or "")."""
        rules, example = self.rules, self._scored(candidates, source)
        if source is None:
            return example, 0, ALIKE if example.scores[0] == example.scores[-1] else ""
        treated, n_false = treat_false_negatives(example, rules)
        is_nothing = n_false == len(candidates.rows) - 1 or (example.scores[0] == 0 and rules.normalize != NONE)
        return treated, n_false, EMPTY if rules.false_negatives != "keep" and n_false and is_nothing else ""

    def _scored(self, candidates: Candidates, source: int | None) -> NWay:
        """The teacher's scores, in [0, 1] unless raw; source document first if there is one, then by score."""
        scores, ids, kind = combine(candidates, self.weights, self.lists.scale), self.lists.ids, self.rules.normalize
        # Percentile scores are absolute; the other scales are relative to the list, and are stretched to [0, 1].
        if kind != NONE:
            scores = scores.clip(0, 1) if kind == PERCENTILE else min_max(scores)
        order = sorted(ids.order(scores, candidates.rows), key=lambda place: candidates.rows[place] != source)
        return NWay(
            candidates.query.query_id,
            tuple(ids.doc_ids[candidates.rows[place]] for place in order),
            tuple(round(float(scores[place]), 6) for place in order),
            has_positive=source is not None,
        )


def treat_false_negatives(example: NWay, rules: Rules) -> tuple[NWay, int]:
    """(the example with its false negatives treated by the rules, their number)."""
    source, treatment = example.scores[0], rules.false_negatives
    # Raw scores have no shares: whatever scores above the source counts.
    limit = source if rules.normalize == NONE else rules.false_negative_share * source
    false = {place for place in range(1, len(example.scores)) if example.scores[place] > limit}
    if treatment == "positive":
        scores = tuple(source if place in false else score for place, score in enumerate(example.scores))
        return example._replace(scores=scores), len(false)
    if treatment == "drop":
        kept = [place for place in range(len(example.scores)) if place not in false]
        doc_ids = tuple(example.doc_ids[place] for place in kept)
        return NWay(example.query_id, doc_ids, tuple(example.scores[place] for place in kept)), len(false)
    return example, len(false)
