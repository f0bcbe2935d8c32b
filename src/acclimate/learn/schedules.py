"""Learning rates by step, the same for rerankers and students."""

from __future__ import annotations

from collections.abc import Callable


def rates(schedule: str, steps: int) -> Callable[[int], float]:
    """Step, from 0 -> its share of the peak rate, above 0, so that every batch is learned from.

    linear: warm-up over a tenth of the steps, then decay to zero after the last. constant: 1.
    """
    if schedule == "constant":
        return lambda step: 1.0
    warm_up = max(1, steps // 10)
    return lambda step: min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up))
