"""Stop training when the loss is no longer finite, without waiting for a GPU at each step."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import TrainerCallback

from acclimate.base.errors import SettingError
from acclimate.base.text import counted

_UNCHECKED = 50  # losses collected before they are checked


class StopDivergence(TrainerCallback):
    """Checks losses before weights are saved or evaluated. Raises SettingError."""

    def __init__(self, steps: int, saved_every: int, learning_rate: float) -> None:
        self.steps, self.saved_every, self.learning_rate = steps, saved_every, learning_rate
        self.unchecked: list[tuple[int, torch.Tensor]] = []  # (step, loss)

    def note(self, step: int, loss: torch.Tensor) -> None:
        """Collect the loss of a step, to be checked later."""
        self.unchecked.append((step, loss.detach().mean()))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        is_last = state.global_step == state.max_steps
        if is_last or state.global_step % self.saved_every == 0 or len(self.unchecked) >= _UNCHECKED:
            self._check()

    def _check(self) -> None:
        losses = torch.stack([loss for _, loss in self.unchecked]).tolist()
        for (step, _), loss in zip(self.unchecked, losses, strict=True):
            if not math.isfinite(loss):
                raise SettingError(
                    f"the reranker diverged: its loss is {loss:g} after {step} of {counted(self.steps, 'step')}; "
                    f"lower train.learning_rate, which is {self.learning_rate:g}"
                )
        self.unchecked.clear()
