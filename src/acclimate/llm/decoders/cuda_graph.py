"""A decoding step as a CUDA graph: one launch on a GPU, a plain call elsewhere.

A step of a small model is hundreds of kernels, each faster than Python can launch the next.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor

from acclimate.base import distributed
from acclimate.base.errors import is_out_of_memory
from acclimate.base.text import reason_of

_WARM_UPS = 2  # calls before recording, as libraries initialize on first use
_idle_streams: list[torch.cuda.Stream] = []  # of graphs that are gone; torch has 32 in all


class RecordedStep:
    """Calls `step`, which reads and changes the same tensors at each call.

    On a GPU it runs a few times and is recorded on construction, so set the tensors' content afterwards; the next call
    overwrites a result.
    """

    has_failed = False  # warn once, and do not try again in this process

    def __init__(self, step: Callable[[], Tensor], device: torch.device) -> None:
        self._run = step
        if device.type == "cuda" and not RecordedStep.has_failed:
            try:
                self._run = _recorded(step)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                RecordedStep.has_failed = True
                distributed.warn("", f"no CUDA graph, so decoding is slower: {reason_of(error)}")

    def __call__(self) -> Tensor:
        return self._run()


def _recorded(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A function that replays the step, recorded on a stream that no other living graph was recorded on.

    With a graph torch 2.13 frees memory that matrix products of all graphs of its stream write to.
    """
    here, aside = torch.cuda.current_stream(), _idle_streams.pop() if _idle_streams else torch.cuda.Stream()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            step()
    here.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    weakref.finalize(graph, _idle_streams.append, aside)
    # A recording that cannot be ended leaves its own stream current.
    with torch.cuda.stream(here), torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
