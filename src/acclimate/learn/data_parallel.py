"""Data-parallel training on the cores of a CPU: parts of a batch pass forward and backward through replicas of a model.

Each part has its own core (as in `base.cores`) and is padded to its own longest text. Parts depend on the batch alone
and gradients are summed in a fixed order, so results do not depend on the number of cores. Dropout is seeded per part.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from acclimate.base import cores
from acclimate.learn.attention import float32_attention

PARTS = 4  # maximum; each has its own gradients of all weights except the embeddings
_TOKENS = 256  # minimum tokens per part: with fewer, reading the weights takes longer than the computation
_OUTPUTS = ("logits", "last_hidden_state", "pooler_output")  # supported outputs, per row
_BEYOND = ("output_hidden_states", "output_attentions", "past_key_values", "cache")  # unsupported arguments

Tensors = Mapping[str, torch.Tensor]


@contextmanager
def data_parallel(model: Any, *, is_padded: bool = True) -> Iterator[None]:
    """Context in which the rows of a training batch pass through `model`, a transformers model, on several cores.

    is_padded: padding at the end of rows may be cut.
    """
    width = getattr(model.config, "hidden_size", None)
    if not width or not cores.uses_single_core(width) or "forward" in vars(model):
        yield
        return
    with float32_attention(model):
        model.forward = _ParallelForward(model, is_padded)
        try:
            yield
        finally:
            del model.forward


def with_gradients(model: Any, forward: Callable[..., Any], *, recompute: bool) -> Callable[..., Any]:
    """Wrap `forward`, which calls `model`; with `recompute`, activations are recomputed in the backward pass."""
    if isinstance(place := vars(model).get("forward"), _ParallelForward):
        place.recompute = recompute
        return forward
    return partial(checkpoint, forward, use_reentrant=False) if recompute else forward


def parts_of(lengths: Sequence[int]) -> list[list[int]]:
    """Positions of rows in parts of similar lengths and about equally many tokens."""
    n_tokens = sum(lengths)
    n_parts = max(1, min(PARTS, n_tokens // _TOKENS))
    parts: list[list[int]] = [[] for _ in range(n_parts)]
    n_before = 0
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        parts[min(n_parts - 1, n_before * n_parts // max(1, n_tokens))].append(row)
        n_before += lengths[row]
    return [part for part in parts if part]


class _Replica(NamedTuple):
    """A model that shares its weights but has gradients of its own, and the generator of its dropout."""

    model: torch.nn.Module
    draws: _Draws


class _Part(NamedTuple):
    """Some rows of a batch."""

    rows: list[int]
    width: int  # longest row of the part, in tokens
    whole: int  # longest row of the batch, in tokens
    inputs: Tensors


class _ParallelForward:
    """Replaces a model's `forward`."""

    def __init__(self, model: Any, is_padded: bool) -> None:
        self.model, self.whole, self.is_padded = model, model.forward, is_padded
        self.recompute = False

    @cached_property
    def replicas(self) -> list[_Replica]:
        """Made when the first batch is divided; small batches never are."""
        return [_replica(self.model) for _ in range(PARTS)]

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        options = {name: value for name, value in inputs.items() if name not in tensors}
        parts = [] if args or self._draws() or any(map(options.get, _BEYOND)) else self._parts(tensors)
        if len(parts) < 2:
            return self.whole(*args, **inputs)
        for replica in self.replicas:
            replica.model.train(self.model.training)
        passed = _Pass(self.replicas, parts, options, keeps=torch.is_grad_enabled() and not self.recompute)
        outputs: Any = _WithGradients.apply(passed, *self.model.parameters())
        return passed.kind(**dict(zip(passed.names, outputs, strict=True)))

    def _parts(self, inputs: Tensors) -> list[_Part]:
        """The parts of a batch; empty if its rows cannot be separated."""
        attended = inputs.get("attention_mask")
        if attended is None or any(value.shape != attended.shape for value in inputs.values()):
            return []
        lengths = [attended.shape[1]] * len(attended)
        if self.is_padded:
            lengths = (attended * torch.arange(1, 1 + attended.shape[1])).amax(dim=1).tolist()
        parts: list[_Part] = []
        for rows in parts_of(lengths):
            width = max(1, *(lengths[row] for row in rows))
            cut = {name: value[rows, :width] for name, value in inputs.items()}
            parts.append(_Part(rows, width, attended.shape[1], cut))
        return parts

    def _draws(self) -> bool:
        """True if the model uses randomness that cannot be seeded per part, which threads would draw in any order."""
        return self.model.training and any(
            ("Drop" in type(module).__name__ and type(module) is not torch.nn.Dropout and getattr(module, "p", 0))
            or any("drop" in name and isinstance(value, float) and value for name, value in vars(module).items())
            for module in self.model.modules()
        )


class _Pass:
    """One forward and backward pass of a batch."""

    def __init__(self, replicas: Sequence[_Replica], parts: Sequence[_Part], options: Mapping[str, Any], keeps: bool):
        self.replicas, self.parts, self.options, self.keeps = replicas, parts, options, keeps
        self.outputs: list[dict[str, torch.Tensor]] = []
        is_mixed = torch.is_autocast_enabled("cpu")  # autocast is per thread
        self.precision = partial(torch.autocast, "cpu", torch.get_autocast_dtype("cpu")) if is_mixed else nullcontext
        self.seed = int(torch.randint(2**32, ())) if replicas[0].model.training else 0
        self.kind: Any = dict
        self.names: list[str] = []

    def forward(self) -> tuple[torch.Tensor, ...]:
        """The model's outputs for all rows, in the order of `names`."""
        outputs = list(cores.parallel_map(partial(self._of_part, keeps=self.keeps), range(len(self.parts))))
        if self.keeps:
            self.outputs = outputs
        self.names = list(outputs[0])
        return tuple(self._together([output[name] for output in outputs]) for name in self.names)

    def backward(self, gradients: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
        """The gradient of each weight, from the gradients of the outputs of `forward`."""

        def flow(number: int) -> None:
            outputs = self.outputs[number] if self.keeps else self._of_part(number, keeps=True)
            part = self.parts[number]
            flowing = {
                name: gradient[part.rows, : part.width] if gradient.dim() > 2 else gradient[part.rows]
                for name, gradient in zip(self.names, gradients, strict=True)
                if gradient is not None
            }
            torch.autograd.backward([outputs[name] for name in flowing], list(flowing.values()))

        replicas = self.replicas[: len(self.parts)]
        for replica in replicas:
            replica.model.zero_grad()  # left by a pass that ran out of memory
        for _ in cores.parallel_map(flow, range(len(self.parts))):
            pass
        self.outputs = []
        return [_sum(weights) for weights in zip(*(replica.model.parameters() for replica in replicas), strict=True)]

    def _of_part(self, number: int, *, keeps: bool) -> dict[str, torch.Tensor]:
        """The model's outputs for a part; `keeps`: record what gradients need."""
        model, draws = self.replicas[number]
        draws.begin(self.seed + number)
        with torch.set_grad_enabled(keeps), self.precision():
            output = model(**self.parts[number].inputs, **self.options)
        self.kind = type(output)
        return {name: output[name] for name in _OUTPUTS if output.get(name) is not None}

    def _together(self, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Combine the parts' outputs, which are per row or per row and token."""
        n_rows, of_tokens = sum(len(part.rows) for part in self.parts), outputs[0].dim() > 2
        of_all = [n_rows, self.parts[0].whole] if of_tokens else [n_rows]
        together = outputs[0].new_zeros((*of_all, outputs[0].shape[-1]))
        for part, output in zip(self.parts, outputs, strict=True):
            if of_tokens:
                together[part.rows, : part.width] = output.detach()
            else:
                together[part.rows] = output.detach()
        return together


class _WithGradients(torch.autograd.Function):
    """A pass as an autograd function."""

    @staticmethod
    def forward(ctx: Any, passed: _Pass, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.passed = passed
        ctx.set_materialize_grads(False)
        return passed.forward()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        return None, *ctx.passed.backward(gradients)


class _Draws:
    """Generates dropout masks of one part's pass from 16 random bits each, six times as fast as torch's own."""

    def begin(self, seed: int) -> None:
        """Reset to a seed."""
        self._bits = np.random.SFC64(seed)

    def kept(self, values: torch.Tensor, share: float) -> torch.Tensor:
        """A mask like `values`: 0 for this share of the elements, 1 for the others."""
        words = self._bits.random_raw(-(-values.numel() // 4))
        drawn = torch.from_numpy(words.view(np.int16)[: values.numel()]).view(values.shape)
        return torch.ge(drawn, round(share * 2**16) - 2**15, out=torch.empty_like(values))


class _Dropout(torch.nn.Module):
    """Dropout with probability `p` from its own generator."""

    def __init__(self, p: float, draws: _Draws) -> None:
        super().__init__()
        self.p, self.draws = p, draws

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return values
        return values * self.draws.kept(values.detach(), self.p).div_(1 - self.p)


def _replica(model: torch.nn.Module) -> _Replica:
    shared = {id(weight): torch.nn.Parameter(weight.detach(), weight.requires_grad) for weight in model.parameters()}
    divides = id(vars(model).get("forward"))
    replica = copy.deepcopy(model, dict[int, Any](shared) | {divides: None})
    vars(replica).pop("forward", None)
    owners = Counter(id(weight) for module in replica.modules() for weight in module.parameters(recurse=False))
    draws = _Draws()
    for module in list(replica.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Dropout and child.p:
                setattr(module, name, _Dropout(child.p, draws))
        if isinstance(module, torch.nn.Embedding) and owners[id(module.weight)] == 1:
            module.sparse = True  # a batch uses few rows of the vocabulary
    return _Replica(replica, draws)


def _sum(weights: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """The sum of one weight's gradients over replicas, in order, releasing them."""
    total: torch.Tensor | None = None
    for weight in weights:
        gradient, weight.grad = weight.grad, None
        if gradient is None:
            continue
        if gradient.is_sparse:
            total = torch.zeros_like(weight) if total is None else total
            total.index_add_(0, gradient._indices()[0], gradient._values())
        else:
            total = gradient if total is None else total.add_(gradient)
    return total
