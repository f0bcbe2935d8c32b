"""GPU helpers: non-blocking copies, a prefetch thread, fused optimizers, and free memory."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from acclimate.base import models

if TYPE_CHECKING:
    import torch


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in pinned memory if there is a CUDA device, else the tensor itself."""
    return tensor.pin_memory() if models.device() == "cuda" and tensor.device.type == "cpu" else tensor


def on_device(tensor: torch.Tensor) -> torch.Tensor:
    """Copy the tensor to the device; on CUDA without blocking, so it must not be changed until the copy is done."""
    return pinned(tensor).to(models.device(), non_blocking=models.device() == "cuda")


def prefetch_thread() -> ThreadPoolExecutor:
    """A one-thread executor for prefetching on this thread's GPU (CUDA's current device is per thread)."""
    import torch

    if models.device() != "cuda":
        return ThreadPoolExecutor(max_workers=1)
    return ThreadPoolExecutor(1, initializer=torch.cuda.set_device, initargs=(torch.cuda.current_device(),))


def fused_optimizer() -> bool | None:
    """The `fused` argument of torch's optimizers: True on CPU and CUDA; None (torch decides) on MPS."""
    return models.device() in ("cpu", "cuda") or None


def free_memory() -> None:
    """Release cached memory on the device, after collecting reference cycles (trained models have them)."""
    import torch

    gc.collect()
    if models.device() == "cuda":
        torch.cuda.empty_cache()
    elif models.device() == "mps":
        torch.mps.empty_cache()


def free_gpu_memory() -> None:
    """`free_memory`, unless the device is the CPU, where collecting cycles takes longer than it gains."""
    if models.device() != "cpu":
        free_memory()


def free_bytes() -> int:
    """GPU memory available to this process, in bytes; 0 without a CUDA device."""
    import torch

    if models.device() != "cuda":
        return 0
    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
