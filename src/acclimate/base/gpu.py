"""What the device takes: copies that no GPU is waited for, threads of its own, steps in one pass, and as much as it has
room for."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
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


def reader() -> ThreadPoolExecutor:
    """A thread that reads ahead for this one, on the same GPU: which one that is, CUDA knows by thread, and a new
    thread begins with the first."""
    import torch

    if models.device() != "cuda":
        return ThreadPoolExecutor(max_workers=1)
    return ThreadPoolExecutor(1, initializer=torch.cuda.set_device, initargs=(torch.cuda.current_device(),))


def fuses_steps() -> bool | None:
    """Whether an optimizer changes all weights in one pass over them; None, which leaves it to torch, on MPS."""
    return models.device() in ("cpu", "cuda") or None


def free_memory() -> None:
    """Give memory that nothing uses any more back to the device: what refers to itself, as all that has trained does,
    would keep it until Python looks for such."""
    import torch

    gc.collect()
    if models.device() == "cuda":
        torch.cuda.empty_cache()
    elif models.device() == "mps":
        torch.mps.empty_cache()


def leave_room() -> None:
    """What nothing uses any more leaves the device, where that is another than the CPU."""
    if models.device() != "cpu":
        free_memory()


def free_bytes() -> int:
    """Memory that a GPU has left for this process; 0 where there is none."""
    import torch

    if models.device() != "cuda":
        return 0
    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
