"""Lists scored by a teacher: as training examples, as files, and their statistics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acclimate.base.spilled import Kept, collect
from acclimate.learn.teachers.lists import rank_of_source, windows_of
from acclimate.records import NWay
from acclimate.search.candidates import Candidates, min_max
from acclimate.search.members import Ids
from acclimate.search.scales import NONE, PERCENTILE, Scale, as_it_is, bounds, combine

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = "nothing but false negatives"
ALIKE = "of the log, everything rated alike"  # without a known relevant document, equal scores mean nothing
ALONE = "nothing to compare is found"
LOW = "the teacher ranks the source document too low"
POOR = "the teacher finds no good document"


class Turn(NamedTuple):
    """Training and held-out lists with the scores of one teacher, source document first if there is one."""

    teacher: str
    train: Kept[NWay]
    dev: Kept[NWay]


class Labels(NamedTuple):
    """The output of labelling: lists, and the chosen teacher."""

    turns: list[Turn]  # one; several if teachers are learned from in turn
    weights: dict[str, float]  # of the teacher's members
    teachers: list[dict[str, Any]]  # name, nDCG@10 alone on held-out queries, weight, whether used, why
    entropy: float  # mean entropy of the teacher's softmax over a list, relative to uniform
    dropped: dict[str, int]
    rated: Iterable[dict[str, Any]]  # all teachers' raw and normalized scores, per query; can be read once
    scale: dict[str, Any]  # of the normalized scores, and of those that students learn from
    # Teacher -> number of lists, of those tied at the top, of those with equal scores only.
    ties: dict[str, dict[str, int]]
    false_negatives: int  # candidates scored above the threshold share of the source's score

    @classmethod
    def of(
        cls,
        turns: list[Turn],
        weights: dict[str, float],
        teachers: list[dict[str, Any]],
        rated: Sequence[Candidates],
        names: Sequence[str],
        ids: Ids,
        to_scale: Scale,
        *,
        normalize: str,
        dropped: dict[str, int],
        false_negatives: int,
    ) -> Labels:
        """Add statistics to lists.

        rated: the candidates with scores by `names`. to_scale: of kind `normalize`, fitted to them.
        """
        is_raw = normalize == NONE
        return cls(
            turns,
            weights,
            teachers,
            _mean_entropy((example.scores for turn in turns for example in turn.train), is_raw=is_raw),
            dropped,
            (_all_scores(of_query, names, to_scale, ids) for of_query in rated),
            {
                "normalize": normalize,
                "target": "as rated" if is_raw else "in [0, 1]",
                **({"bounds": bounds(rated, names)} if normalize == PERCENTILE else {}),
            },
            _ties(rated, names),
            false_negatives,
        )

    @property
    def notes(self) -> dict[str, Any]:
        """The statistics for the manifest."""
        return {
            "teachers": self.teachers,
            "weights": self.weights,
            "turns": [turn.teacher for turn in self.turns],
            "target_entropy": self.entropy,
            "scale": self.scale,
            "ties": self.ties,
            "false_negatives": self.false_negatives,
        }

    @property
    def query_ids(self) -> set[str]:
        """Ids of the queries with lists."""
        return {example.query_id for turn in self.turns for side in (turn.train, turn.dev) for example in side}

    @property
    def train(self) -> Sequence[NWay]:
        """The first teacher's training lists."""
        return self.turns[0].train

    @property
    def dev(self) -> Sequence[NWay]:
        """The first teacher's held-out lists."""
        return self.turns[0].dev


class Rules(NamedTuple):
    """Settings of `stages.label` for turning scored candidates into lists."""

    normalize: str
    windows: int
    source_within: int
    drop_lowest: float
    false_negatives: str
    false_negative_share: float


def turns_of(
    teachers: Sequence[tuple[str, Mapping[str, float]]],
    rated: Sequence[Candidates],
    best: Sequence[NDArray[np.int64]],
    sources: Sequence[int | None],
    asked: Collection[str],
    to_scale: Scale,
    order: Mapping[str, float],
    ids: Ids,
    in_dev: Collection[str],
    rules: Rules,
    scratch: Path | None = None,
) -> tuple[list[Turn], int, dict[str, int]]:
    """Training and held-out lists of each teacher.

    teachers: (name, weights of its scorers). best: positions of the candidates of each list that the scorers in `asked`
    scored; if no other scorer teaches, the rest is dropped. sources: row of each query's source document, or None.
    to_scale: normalizes scores before they are added. order: weights of the members that ranked the candidates. in_dev:
    ids of held-out queries. scratch: a folder to hold lists; None: memory. Also returns the number of false negatives,
    and counts of dropped queries and lists by reason.
    """
    turns: list[Turn] = []
    n_false, dropped = 0, Counter({EMPTY: 0} if rules.false_negatives != "keep" else {})
    for teacher, weights in teachers:
        turn = Turn(teacher, collect((), scratch), collect((), scratch))
        is_asked_alone = all(name in asked for name, weight in weights.items() if weight)

        def lists(is_asked_alone: bool = is_asked_alone) -> Iterator[Candidates]:
            for candidates, places in zip(rated, best, strict=True):
                yield candidates.select(places) if is_asked_alone else candidates

        reasons = _left_out(lists(), sources, weights, to_scale, ids, rules)
        for candidates, source, reason in zip(lists(), sources, reasons, strict=True):
            if reason:
                dropped[reason] += 1
                continue
            for part in windows_of(candidates, source, order, ids, rules.windows):
                example, n_in_list, left_out = _example(part, source, weights, to_scale, ids, rules)
                n_false += n_in_list
                if left_out:
                    dropped[left_out] += 1
                else:
                    (turn.dev if example.query_id in in_dev else turn.train).append(example)
        turns.append(turn)
    return turns, n_false, dict(dropped)


def _left_out(
    lists: Iterable[Candidates],
    sources: Sequence[int | None],
    weights: Mapping[str, float],
    to_scale: Scale,
    ids: Ids,
    rules: Rules,
) -> list[str]:
    """The reason to drop each query, or "": where the teacher is unsure it says little (CADET)."""
    reasons, tops = [""] * len(sources), [np.inf] * len(sources)
    # A single teacher ranks by its own scores: percentiles are clipped, so they tie its best documents.
    to_rank = as_it_is if sum(weight > 0 for weight in weights.values()) == 1 else to_scale
    for number, (candidates, source) in enumerate(zip(lists, sources, strict=True)):
        if len(candidates.rows) < 2:
            reasons[number] = ALONE
        elif rules.source_within or rules.drop_lowest:
            scores = combine(candidates, weights, to_rank)
            rank = 1 if source is None else rank_of_source(scores, candidates, source, ids)
            reasons[number] = LOW if 0 < rules.source_within < rank else ""
            tops[number] = float(scores.max())
    sure = [top for top, reason in zip(tops, reasons, strict=True) if not reason]
    least = float(np.quantile(sure, rules.drop_lowest)) if rules.drop_lowest and sure else -np.inf
    return [reason or (POOR if top < least else "") for top, reason in zip(tops, reasons, strict=True)]


def _example(
    candidates: Candidates,
    source: int | None,
    weights: Mapping[str, float],
    to_scale: Scale,
    ids: Ids,
    rules: Rules,
) -> tuple[NWay, int, str]:
    """(training example, its number of false negatives, the reason to drop it or "")."""
    example = _rated_list(candidates, source, weights, to_scale, rules.normalize, ids)
    if source is None:
        return example, 0, ALIKE if example.scores[0] == example.scores[-1] else ""
    treated, n_false = _treat_false_negatives(example, rules)
    is_nothing = n_false == len(candidates.rows) - 1 or (example.scores[0] == 0 and rules.normalize != NONE)
    return treated, n_false, EMPTY if rules.false_negatives != "keep" and n_false and is_nothing else ""


def _rated_list(
    candidates: Candidates,
    source: int | None,
    weights: Mapping[str, float],
    to_scale: Scale,
    kind: str,
    ids: Ids,
) -> NWay:
    """The teacher's scores, in [0, 1] unless raw; source document first if there is one, then by score."""
    scores = combine(candidates, weights, to_scale)
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


def _treat_false_negatives(example: NWay, rules: Rules) -> tuple[NWay, int]:
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


def _all_scores(candidates: Candidates, names: Sequence[str], to_scale: Scale, ids: Ids) -> dict[str, Any]:
    """All teachers' scores of all candidates, as numbers that round-trip through float32."""
    return {
        "query_id": candidates.query.query_id,
        "doc_ids": [ids.doc_ids[row] for row in candidates.rows],
        "raw": {name: _plain(candidates.scores[name]) for name in names},
        "normalized": {name: _plain(to_scale(name, candidates.scores[name])) for name in names},
    }


def _plain(scores: NDArray[np.float32]) -> list[float | None]:
    """None for missing scores."""
    return [None if np.isnan(score) else float(str(score)) for score in scores.astype(np.float32)]


def _ties(lists: Iterable[Candidates], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """name -> number of lists, of lists tied at the top, and of lists with equal scores only."""
    counts = {name: {"lists": 0, "at_the_top": 0, "flat": 0} for name in names}
    for candidates in lists:
        for name, count in counts.items():
            scores = candidates.scores[name]
            if len(scores) > 1:
                known = scores[~np.isnan(scores)]
                count["lists"] += 1
                count["at_the_top"] += int((known == known.max()).sum() > 1)
                count["flat"] += int(known.max() == known.min())
    return counts


def _mean_entropy(lists: Iterable[Sequence[float]], *, is_raw: bool) -> float:
    """Mean normalized entropy of the lists' softmax, in [0, 1]: 1 if uniform, 0 if a single document; 0 without lists.

    is_raw: scores are logits instead of in [0, 1].
    """
    entropies = [_entropy(scores, 1.0 if is_raw else 0.1) for scores in lists]
    return round(float(np.mean(entropies)), 4) if entropies else 0.0


def _entropy(scores: Sequence[float], temperature: float) -> float:
    """1 if the softmax of the scores is uniform, 0 if it is a single document."""
    if len(scores) < 2:
        return 0.0
    shares = np.exp((np.array(scores) - max(scores)) / temperature)
    shares = shares / shares.sum()
    return float(-(shares * np.log(np.maximum(shares, 1e-12))).sum() / math.log(len(scores)))
