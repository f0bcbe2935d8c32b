"""Losses of students over log-probabilities of an example's documents.

Differences of log-probabilities are those of the student's scores, divided by its temperature. Each function takes the
student's (n, n_ways) `logs`, source document first, and teacher scores of the same shape, and returns (n,) losses.
Without a known source document only the teacher's part applies. Nothing here waits for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from acclimate.learn.students.similarities import Similarities

_TINY = 1e-6


@dataclass(frozen=True)
class DistillationLoss:
    """(1 - contrastive) * the teacher's loss + contrastive * InfoNCE on the source document."""

    name: str = "kl"
    teacher_temperature: float = 0.06
    contrastive: float = 0.3
    mask_above: float = 1.0  # share of the source's teacher score above which InfoNCE ignores a document
    student_temperature: float = 1.0
    contrastive_temperature: float = 0.0  # of the student, in InfoNCE; 0: `student_temperature`
    within_list: bool = False  # the teacher's loss compares an example's own documents alone, InfoNCE all (CADET)

    def __call__(
        self,
        similarities: Similarities,
        scores: torch.Tensor,
        priors: torch.Tensor | None = None,
        *,
        has_positive: bool = True,
    ) -> torch.Tensor:
        """(n,) loss of each example.

        scores: the teacher's, in [0, 1] if `mask_above` is below 1. priors: (n,) total probability that the student
        gave to an example's documents before it learned from this teacher, if its softmax covers the corpus; else None.
        has_positive: the first document of each is known to be relevant.
        """
        contrastive = self.contrastive if has_positive else 0.0
        taught = similarities.within_list() if self.within_list else similarities
        logs = taught.log_probs(self.student_temperature)
        loss = torch.zeros(len(logs), device=logs.device)
        if contrastive < 1:
            loss = loss + (1 - contrastive) * LOSSES[self.name](
                logs, scores / self.teacher_temperature, None if self.within_list else priors
            )
        if contrastive:
            left_out = suspected(scores, self.mask_above) if self.mask_above < 1 else None
            if self.within_list or self.contrastive_temperature or left_out is not None:
                temperature = self.contrastive_temperature or self.student_temperature
                logs = similarities.log_probs(temperature, left_out)
            loss = loss + contrastive * info_nce(logs, scores)
        return loss


def kl(logs: torch.Tensor, logits: torch.Tensor, priors: torch.Tensor | None) -> torch.Tensor:
    """KL divergence of the student from the softmax of the teacher's logits.

    The teacher determines how its documents share their probability, not its total: the rest of the corpus counts as
    one outcome that keeps its prior. Otherwise students would mainly learn confidence.
    """
    target = torch.softmax(logits, dim=-1)
    if priors is not None:
        target = target * priors[:, None]
    loss = _divergence(target, logs).sum(dim=-1)
    if priors is not None:
        others = torch.log1p(-logs.exp().sum(dim=-1).clamp(max=1 - _TINY))
        loss = loss + _divergence(1 - target.sum(dim=-1), others)
    return loss


def margin_mse(logs: torch.Tensor, logits: torch.Tensor, priors: torch.Tensor | None) -> torch.Tensor:
    """Mean squared difference of margins between source and other documents (Hofstätter et al. 2020, section 3.2).

    Both sides are divided by their temperatures, which set their relative scale.
    """
    if logs.shape[1] < 2:
        return logs.sum(dim=-1) * 0.0
    return ((logs[:, :1] - logs[:, 1:]) - (logits[:, :1] - logits[:, 1:])).square().mean(dim=-1)


def info_nce(logs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Negative log-probability of the positives (the source document, and those equal to it); their mean."""
    positive = _positive(scores)
    return -logs.where(positive, 0.0).sum(dim=-1) / positive.sum(dim=-1)


def suspected(scores: torch.Tensor, mask_above: float) -> torch.Tensor:
    """(n, n_ways) True for suspected false negatives, which InfoNCE ignores (CADET)."""
    return (scores > mask_above * scores[:, :1]) & ~_positive(scores)


def _positive(scores: torch.Tensor) -> torch.Tensor:
    """(n, n_ways) True for the source document, and for those with exactly its score, made positives by `label`.

    If that is the lowest score of the list, equal scores mean nothing.
    """
    positive = (scores == scores[:, :1]) & (scores > scores.amin(dim=-1, keepdim=True))
    positive[:, 0] = True
    return positive


def _divergence(target: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
    return target * (target.clamp_min(_TINY).log() - logs)


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]] = {
    "kl": kl,
    "margin-mse": margin_mse,
}
