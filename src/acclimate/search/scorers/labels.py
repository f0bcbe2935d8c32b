"""Find the label of a cross-encoder that means relevant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acclimate.base.errors import SettingError

if TYPE_CHECKING:
    import torch

_RELEVANT = ("relevant", "entailment", "yes", "true")
_PAIRS = (["label_0", "label_1"], ["0", "1"])  # of two unnamed labels the second is positive


def labels(config: Mapping[str, Any]) -> dict[int, str]:
    """The labels of a configuration by index, as transformers reads it."""
    named = config.get("id2label")
    if isinstance(named, dict) and all(str(number).isdecimal() for number in named):
        return {int(number): str(label) for number, label in named.items()}
    many = config.get("num_labels", 2)
    return {number: f"LABEL_{number}" for number in range(many if isinstance(many, int) else 2)}


def relevant(labels: Mapping[int, str], name: str) -> int:
    """The index of the label for relevant. Raises SettingError if none of several is."""
    plain = [re.sub(r"[^a-z0-9]+", "_", labels[number].lower()) for number in sorted(labels)]
    matching = [number for number, label in zip(sorted(labels), plain, strict=True) if label in _RELEVANT]
    if len(labels) == 1 or plain in _PAIRS:
        return max(labels)
    if len(matching) == 1:
        return matching[0]
    raise SettingError(
        f"{name} has the labels {', '.join(labels.values())}; expected a reranker with one label, or with one "
        f"named {', '.join(_RELEVANT)}"
    )


def log_odds(scores: torch.Tensor, label: int | None) -> torch.Tensor:
    """(n,) float32 log-odds of that label, from (n, labels) logits; None: the logit of a single label."""
    scores = scores.float()
    if label is None:
        return scores.view(-1)
    others = [column for column in range(scores.shape[1]) if column != label]
    return scores[:, label] - scores[:, others].logsumexp(dim=1)
