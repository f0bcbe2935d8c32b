"""What a piece of work asks of the machine, and what the machine can do: operations, bytes, and rates of both.

Counted are matrix products and attention, which are all but all of the arithmetic, with the bytes of what they read and
write. Counting slows the work down, so it is done in a pass of its own. A CUDA graph that is played again is not seen,
so while it is counted none is recorded: let models be loaded within.
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
from acclimate.llm.decoders.captured import Captured

SIZES = (256, 512, 1024)  # rows of the products whose rate is measured; the fastest counts
_BANDWIDTH_MB = 256  # far more than any cache


def _rows_by(shape: Callable[[Any, Any], int]) -> Callable[[Any, Any], float]:
    """FLOP of a product with that many columns in the result, from its arguments."""
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
    """Within it, FLOP and bytes of every product are added up."""

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0.0
        self.bytes = 0.0
        self._without_graphs = mock.patch.object(Captured, "has_failed", new=True)

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
    """What this device does at most, as measured, in a second of its time (of a CPU: of one core's)."""

    flop: float  # in matrix products, in the precision that models compute in
    float32_flop: float
    bytes: float  # copied


def ceilings() -> Ceilings:
    """Measured now: other work on the machine lowers them as it lowers everything."""
    return Ceilings(_product_rate(models.dtype()), _product_rate(torch.float32), _copy_rate())


def synchronized() -> None:
    """The device has done all that it was asked for."""
    if models.device() == "cuda":
        torch.cuda.synchronize()


def clock() -> float:
    """Seconds that count: of the processor, all threads, on a CPU; on the wall where another device computes."""
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
    """FLOP per second of products with layers as wide as small models' and, on a GPU, as wide as it likes."""
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
