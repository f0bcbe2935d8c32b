"""The lists that a teacher rated: as students learn from them, as files keep them, and what they are like."""

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
from acclimate.search.scales import NONE, PERCENTILE, Scale, bounds, combine

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = "nothing but false negatives"
ALIKE = "of the log, everything rated alike"  # which says nothing where no document is known to be relevant
ALONE = "nothing to compare is found"
LOW = "the teacher ranks the source document too low"
POOR = "the teacher finds no good document"


class Turn(NamedTuple):
    """Candidates with a teacher's scores in [0, 1], source document first where there is one."""

    teacher: str
    train: Kept[NWay]
    dev: Kept[NWay]


class Labels(NamedTuple):
    """What students learn from, and who the teacher is."""

    turns: list[Turn]  # one, or where teachers teach one after the other, one for each
    weights: dict[str, float]  # of the teacher
    teachers: list[dict[str, Any]]  # name, its nDCG@10 alone on held-out queries, weight, whether used, why
    entropy: float  # mean of the teacher's scores as a distribution over its list, in shares of the uniform one
    dropped: dict[str, int]
    rated: Iterable[dict[str, Any]]  # every teacher's raw and normalized scores, a query at a time, to be read once
    scale: dict[str, Any]  # of the normalized scores, and of those that students learn from
    ties: dict[str, dict[str, int]]  # by teacher: lists, those tied at the top, those of equal scores altogether
    false_negatives: int  # candidates rated above the share of the source document's score

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
        """With what follows from the lists. rated: the candidates that these were made of, with scores by `names`;
        to_scale: of the kind `normalize`, fitted to them.
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
        """What there is to say of them beside the lists."""
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
        """The queries that there are lists of."""
        return {example.query_id for turn in self.turns for side in (turn.train, turn.dev) for example in side}

    @property
    def train(self) -> Sequence[NWay]:
        """What the first teacher says of the training queries."""
        return self.turns[0].train

    @property
    def dev(self) -> Sequence[NWay]:
        """What the first teacher says of the held-out queries."""
        return self.turns[0].dev


class Rules(NamedTuple):
    """What becomes of rated candidates, see `stages.label`, whose settings these are."""

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
    """What each teacher says of the candidates of each query, as students learn from it.

    teachers: name, and weights of the scorers that it is made of. best: the places of the candidates of each list that
    those who are `asked` rated; where no other teaches, nothing is said of the rest. sources: the row of each query's
    source document; None for a query that was written for none. to_scale: the scale on which scorers are added. order:
    weights of the members that ranked the candidates. in_dev: ids of the queries that are held out. scratch: the folder
    where what each says waits; None: in memory.
    Returns how many false negatives there are, too, and how many queries and lists were left out for which reason.
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
    """Why the teacher is not to teach of each query, nothing where it is: what it is unsure of says little (CADET)."""
    reasons, tops = [""] * len(sources), [np.inf] * len(sources)
    for number, (candidates, source) in enumerate(zip(lists, sources, strict=True)):
        if len(candidates.rows) < 2:
            reasons[number] = ALONE
        elif rules.source_within or rules.drop_lowest:
            scores = combine(candidates, weights, to_scale)
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
    """(the list as students learn from it, how many false negatives it has, why it is left out)."""
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
    """The teacher's score of each candidate, in [0, 1] unless it is raw; the source document first where there is one,
    then by score."""
    scores = combine(candidates, weights, to_scale)
    # A percentile says how good a list is, too; the other scales say nothing of that, and fill [0, 1].
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
    """The example with its false negatives treated so, and how many there are."""
    source, treatment = example.scores[0], rules.false_negatives
    # Of raw scores there are no shares: whatever is rated above the source document.
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
    """What every teacher said of every candidate, as numbers that are float32 again when they are read."""
    return {
        "query_id": candidates.query.query_id,
        "doc_ids": [ids.doc_ids[row] for row in candidates.rows],
        "raw": {name: _plain(candidates.scores[name]) for name in names},
        "normalized": {name: _plain(to_scale(name, candidates.scores[name])) for name in names},
    }


def _plain(scores: NDArray[np.float32]) -> list[float | None]:
    """None for what was not asked for."""
    return [None if np.isnan(score) else float(str(score)) for score in scores.astype(np.float32)]


def _ties(lists: Iterable[Candidates], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """By name: how many lists there are, how many whose best score is that of several documents, how many of one score
    alone."""
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
    """The mean entropy of the lists' softmax, in [0, 1]: 1 if uniform, 0 if it is one document; 0 without lists.

    is_raw: scores are logits, where others lie in [0, 1].
    """
    entropies = [_entropy(scores, 1.0 if is_raw else 0.1) for scores in lists]
    return round(float(np.mean(entropies)), 4) if entropies else 0.0


def _entropy(scores: Sequence[float], temperature: float) -> float:
    """1 when the softmax of the scores is uniform, 0 when it is one document."""
    if len(scores) < 2:
        return 0.0
    shares = np.exp((np.array(scores) - max(scores)) / temperature)
    shares = shares / shares.sum()
    return float(-(shares * np.log(np.maximum(shares, 1e-12))).sum() / math.log(len(scores)))
