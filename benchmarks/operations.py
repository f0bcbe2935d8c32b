"""Counts operations and bytes of work, and measures the machine's peak rates of both.

Counted are matrix products and attention, which are almost all of the arithmetic, with the bytes they read and write.
Counting slows the work down, so it takes a separate pass. Replayed CUDA graphs are invisible to it, so none are
recorded while counting: load models inside the block.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from acclimate.base import models
from acclimate.llm.decoders.cuda_graph import RecordedStep

SIZES = (256, 512, 1024)  # rows of the products whose rate is measured; the fastest counts
_BANDWIDTH_MB = 256  # far more than any cache


def _rows_by(shape: Callable[[Any, Any], int]) -> Callable[[Any, Any], float]:
    """A function for the FLOP of a product, given the number of columns of its result."""
    return lambda args, out: 2.0 * args[0].numel() * shape(args, out)


def _added(args: Any, out: Any) -> float:
    return 2.0 * args[1].numel() * args[2].shape[-1]


def _attention(args: Any, out: Any) -> float:
    queries, keys, values = args[:3]
    mixed = out[0] if isinstance(out, tuple) else out
    return 2.0 * queries.numel() * keys.shape[-2] + 2.0 * mixed.numel() * values.shape[-2]


_FLOP: dict[str, Callable[[Any, Any], float]] = {
    **dict.fromkeys(("mm", "bmm", "matmul"), _rows_by(lambda args, out: args[1].shape[-1] if args[1].ndim > 1 else 1)),
    **dict.fromkeys(("linear", "_linear_pointwise"), _rows_by(lambda args, out: out.shape[-1])),
    **dict.fromkeys(("addmm", "baddbmm"), _added),
    "scaled_dot_product_attention": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
}


class Counting(TorchDispatchMode):
    """Sums FLOP and bytes of every product inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0.0
        self.bytes = 0.0
        self._without_graphs = mock.patch.object(RecordedStep, "has_failed", new=True)

    def __enter__(self) -> Self:
        self._without_graphs.start()
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._without_graphs.stop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        flop = _FLOP.get(func.overloadpacket.__name__)
        if flop:
            self.flop += flop(args, out)
            outputs = out if isinstance(out, tuple) else (out,)
            self.bytes += sum(
                part.numel() * part.element_size() for part in (*args, *outputs) if isinstance(part, torch.Tensor)
            )
        return out


class Ceilings(NamedTuple):
    """Measured peak rates of this device per second (on a CPU: per second of one core)."""

    flop: float  # in matrix products, in the precision that models compute in
    float32_flop: float
    bytes: float  # copied


def ceilings() -> Ceilings:
    """Measure peak rates now; other work on the machine lowers them like everything else."""
    return Ceilings(_product_rate(models.dtype()), _product_rate(torch.float32), _copy_rate())


def synchronized() -> None:
    """Wait until the device has finished all work."""
    if models.device() == "cuda":
        torch.cuda.synchronize()


def clock() -> float:
    """CPU seconds of all threads on a CPU; wall-clock seconds on other devices."""
    return time.process_time() if models.device() == "cpu" else time.perf_counter()


def _best(work: Callable[[], Any], repeats: int) -> float:
    work()
    best = math.inf
    for _ in range(5):
        synchronized()
        started = clock()
        for _ in range(repeats):
            work()
        synchronized()
        best = min(best, (clock() - started) / repeats)
    return best


def _product_rate(dtype: torch.dtype) -> float:
    """FLOP per second of products with layers of small models' width, and on a GPU also of wide ones."""
    width = 1024 if models.device() == "cpu" else 8192
    weight = torch.randn(width, width, device=models.device()).to(dtype)
    rates = []
    for rows in SIZES if models.device() == "cpu" else (width,):
        x = torch.randn(rows, width, device=models.device()).to(dtype)
        rates.append(2 * rows * width**2 / _best(lambda x=x: torch.mm(x, weight.T), 10))
    return max(rates)


def _copy_rate() -> float:
    """Bytes read and written per second."""
    source = torch.zeros(_BANDWIDTH_MB * 2**20, dtype=torch.uint8, device=models.device())
    target = torch.empty_like(source)
    return 2 * source.numel() / _best(lambda: target.copy_(source), 2)
