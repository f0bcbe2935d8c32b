"""What labelling makes: the lists of each teacher, the teachers, and their statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acclimate.learn.teachers.selection import Teachers
from acclimate.learn.teachers.turns import ScoredLists, Turn, Turns
from acclimate.records import NWay
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids
from acclimate.search.scales import NONE, PERCENTILE, Scale, bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        turns: Turns,
        lists: ScoredLists,
        names: Sequence[str],
        teachers: Teachers,
        *,
        normalize: str,
        dropped: Mapping[str, int] | None = None,
    ) -> Labels:
        """Add statistics to lists.

        lists: the candidates with scores by `names`, of which `turns` were made. normalize: the kind of their scale.
        dropped: queries that were dropped before, by reason.
        """
        is_raw, rated = normalize == NONE, lists.candidates
        return cls(
            turns.turns,
            teachers.weights,
            teachers.rows,
            _mean_entropy((example.scores for turn in turns.turns for example in turn.train), is_raw=is_raw),
            {**(dropped or {}), **turns.dropped},
            (_all_scores(of_query, names, lists.scale, lists.ids) for of_query in rated),
            {
                "normalize": normalize,
                "target": "as rated" if is_raw else "in [0, 1]",
                **({"bounds": bounds(rated, names)} if normalize == PERCENTILE else {}),
            },
            _ties(rated, names),
            turns.false_negatives,
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
