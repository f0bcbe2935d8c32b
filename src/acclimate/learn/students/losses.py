"""What a student is taught: losses over the log-probabilities that it gives to the documents of examples.

All of them follow from log-probabilities alone: their differences are those of the student's scores, divided by its
temperature. Each function takes the student's (n, n_ways) `logs` of n examples, the source document first, and the
teacher's `scores` of the same shape; it returns (n,) losses. Where no source document is known, the teacher's part is
all there is. Nothing here asks a GPU for a number: it would be waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from acclimate.learn.students.similarities import Similarities

_TINY = 1e-6


@dataclass(frozen=True)
class DistillationLoss:
    """The teacher's part, weighed `1 - contrastive`, and InfoNCE towards the source document, weighed `contrastive`."""

    name: str = "kl"
    teacher_temperature: float = 0.06
    contrastive: float = 0.3
    mask_above: float = 1.0  # share of the source document's teacher score above which InfoNCE passes over a document
    student_temperature: float = 1.0
    contrastive_temperature: float = 0.0  # of the student in InfoNCE; 0: the same

    def __call__(
        self,
        similarities: Similarities,
        scores: torch.Tensor,
        priors: torch.Tensor | None = None,
        *,
        has_positive: bool = True,
    ) -> torch.Tensor:
        """(n,) the loss of each example.

        scores: the teacher's, in [0, 1] where `mask_above` is below 1. priors: (n,) where the student's softmax covers
        every document, the probability that the untouched student gave to those of an example together; else None.
        has_positive: the first document of each is known to be relevant.
        """
        contrastive = self.contrastive if has_positive else 0.0
        logs = similarities.log_probs(self.student_temperature)
        loss = torch.zeros(len(logs), device=logs.device)
        if contrastive < 1:
            loss = loss + (1 - contrastive) * LOSSES[self.name](logs, scores / self.teacher_temperature, priors)
        if contrastive:
            left_out = suspected(scores, self.mask_above) if self.mask_above < 1 else None
            if self.contrastive_temperature or left_out is not None:
                temperature = self.contrastive_temperature or self.student_temperature
                logs = similarities.log_probs(temperature, left_out)
            loss = loss + contrastive * info_nce(logs, scores)
        return loss


def kl(logs: torch.Tensor, logits: torch.Tensor, priors: torch.Tensor | None) -> torch.Tensor:
    """KL divergence of the student from the softmax of the teacher's logits.

    The teacher says how the documents that it rated divide their probability, not how much of it they have: the rest
    of a corpus keeps what it had, as one more outcome. Else a student learns, above all, to be sure of itself.
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
    """Mean squared difference of the margins between source document and others (Hofstätter et al. 2020, section 3.2).

    Both sides are divided by their temperatures, which so decide how the scales compare.
    """
    if logs.shape[1] < 2:
        return logs.sum(dim=-1) * 0.0
    return ((logs[:, :1] - logs[:, 1:]) - (logits[:, :1] - logits[:, 1:])).square().mean(dim=-1)


def info_nce(logs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Negative log-probability of the source document, and of what is as good; the mean over these."""
    positive = _positive(scores)
    return -logs.where(positive, 0.0).sum(dim=-1) / positive.sum(dim=-1)


def suspected(scores: torch.Tensor, mask_above: float) -> torch.Tensor:
    """(n, n_ways) True for suspected false negatives, which count for nothing in InfoNCE (CADET)."""
    return (scores > mask_above * scores[:, :1]) & ~_positive(scores)


def _positive(scores: torch.Tensor) -> torch.Tensor:
    """(n, n_ways) True for the source document, and for those with its very score, which `label` made positives too.
    Where that is the lowest of the list, equal scores say nothing."""
    positive = (scores == scores[:, :1]) & (scores > scores.amin(dim=-1, keepdim=True))
    positive[:, 0] = True
    return positive


def _divergence(target: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
    return target * (target.clamp_min(_TINY).log() - logs)


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]] = {
    "kl": kl,
    "margin-mse": margin_mse,
}
