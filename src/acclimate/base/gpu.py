"""Copies that no GPU is waited for, and the room that it has. Without one, all of this is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate.base import models

if TYPE_CHECKING:
    import torch


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in memory that a GPU reads by itself, where there is one."""
    return tensor.pin_memory() if models.device() == "cuda" and tensor.device.type == "cpu" else tensor


def on_device(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the device, which copies it when it comes to it; until then it may not be changed."""
    return pinned(tensor).to(models.device(), non_blocking=models.device() == "cuda")


def free_bytes() -> int:
    """Memory that a GPU has left for this process; 0 where there is none."""
    import torch

    if models.device() != "cuda":
        return 0
    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
