"""A step over tensors that stay where they are: one launch of a CUDA graph on a GPU, a plain call elsewhere.

A step of a small model is hundreds of kernels, each done sooner than Python can ask for the next.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from acclimate.base import distributed
from acclimate.base.errors import is_out_of_memory
from acclimate.base.text import single_spaced

_WARM_UPS = 2  # libraries set themselves up at first use, which a graph cannot hold


class Captured:
    """Calls `step`, which reads and changes the same tensors at each call.

    On a GPU it is run a few times and recorded when this is made, so what these tensors hold is to be set afterwards;
    and what a call returns is overwritten by the next.
    """

    has_failed = False  # said once, and not tried again by this process

    def __init__(self, step: Callable[[], Tensor], device: torch.device) -> None:
        self._run = step
        if device.type == "cuda" and not Captured.has_failed:
            try:
                self._run = _recorded(step)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                Captured.has_failed = True
                distributed.warn("", f"no CUDA graph, so decoding is slower: {single_spaced(str(error))}")

    def __call__(self) -> Tensor:
        return self._run()


def _recorded(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            step()
    here.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # A recording that cannot be ended leaves its own stream in place.
    with torch.cuda.stream(here), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
