"""The memory that a student's gradients take, measured by what PyTorch keeps for them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from distilling import training_of

from acclimate.base import models
from acclimate.learn.students import training

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    monkeypatch.setattr(models, "dtype", lambda: torch.float32)


def kept_for_gradients(course):
    """(numbers kept for a backward pass at most, besides weights; tokens read with gradients; held-out losses)."""
    weights = {weight.untyped_storage().data_ptr() for weight in course.weights.parameters()}
    now, most = 0, 0

    class Kept:
        def __init__(self, tensor):
            nonlocal now, most
            self.tensor = tensor
            self.size = 0 if tensor.untyped_storage().data_ptr() in weights else tensor.numel()
            now += self.size
            most = max(most, now)

        def __del__(self):
            nonlocal now
            now -= self.size

    tokens = []
    embeddings = next(part for part in course.weights.modules() if isinstance(part, torch.nn.Embedding))
    embeddings.register_forward_pre_hook(lambda _, args: tokens.append(args[0].numel() * torch.is_grad_enabled()))
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        losses = course.run(lambda step: None)
    return most, sum(tokens), losses


def test_lists_with_a_softmax_of_their_own_take_the_memory_of_one(base, data, tmp_path, monkeypatch):
    figures = []
    for room in (10**9, 1):  # the whole batch, one list
        monkeypatch.setattr(training, "TOKENS_AT_ONCE", room)
        course = training_of("late-interaction", base, data, tmp_path / f"{room}", epochs=1)
        figures.append(kept_for_gradients(course))
    (of_batch, tokens, losses), (of_list, tokens_in_parts, losses_in_parts) = figures
    assert of_list < of_batch / 4  # of eight lists
    assert tokens_in_parts <= tokens * 1.01  # nothing is encoded twice
    assert losses_in_parts == pytest.approx(losses, rel=1e-3)
