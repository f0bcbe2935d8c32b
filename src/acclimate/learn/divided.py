"""A batch that teaches, divided among cores: parts of it pass through a model, and their gradients back, side by side.

Each part has a core of its own, as texts have that are only read (see `base.cores`), and is padded to its own longest
text. Parts follow from the batch alone and gradients are added up in their order, so they do not depend on how many
cores there are. What is dropped at random is drawn for each part from a seed of its own.
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
from acclimate.learn.attention import attending

PARTS = 4  # at most: each has a gradient of all weights but the embeddings'
_TOKENS = 256  # in a part, on average and at least: with fewer, reading the weights takes longer than using them
_OUTPUTS = ("logits", "last_hidden_state", "pooler_output")  # what a model may say of each row
_BEYOND = ("output_hidden_states", "output_attentions", "past_key_values")  # what else one may ask of it

Tensors = Mapping[str, torch.Tensor]


@contextmanager
def divided(model: Any, *, is_padded: bool = True) -> Iterator[None]:
    """Within, the rows of a batch that teaches pass through `model`, a transformer of its library, on several cores.

    is_padded: whether what is not attended to at a row's end means nothing.
    """
    width = getattr(model.config, "hidden_size", None)
    if not width or not cores.uses_single_core(width) or "forward" in vars(model):
        yield
        return
    with attending(model):
        model.forward = _Divided(model, is_padded)
        try:
            yield
        finally:
            del model.forward


def with_gradients(model: Any, forward: Callable[..., Any], *, recompute: bool) -> Callable[..., Any]:
    """`forward`, which calls `model`; where `recompute`, computed again when gradients flow back, and not kept."""
    if isinstance(place := vars(model).get("forward"), _Divided):
        place.recompute = recompute
        return forward
    return partial(checkpoint, forward, use_reentrant=False) if recompute else forward


def parts_of(lengths: Sequence[int]) -> list[list[int]]:
    """Rows of like length, by position, in parts of about as many tokens."""
    n_tokens = sum(lengths)
    n_parts = max(1, min(PARTS, n_tokens // _TOKENS))
    parts: list[list[int]] = [[] for _ in range(n_parts)]
    n_before = 0
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        parts[min(n_parts - 1, n_before * n_parts // max(1, n_tokens))].append(row)
        n_before += lengths[row]
    return [part for part in parts if part]


class _Replica(NamedTuple):
    """A model's weights, with gradients of their own, and what draws for its dropout."""

    model: torch.nn.Module
    draws: _Draws


class _Part(NamedTuple):
    """Some rows of a batch."""

    rows: list[int]
    width: int  # tokens of the longest of them
    whole: int  # tokens of the longest of all
    inputs: Tensors


class _Divided:
    """What stands in the place of a model's `forward`."""

    def __init__(self, model: Any, is_padded: bool) -> None:
        self.model, self.whole, self.is_padded = model, model.forward, is_padded
        self.recompute = False

    @cached_property
    def replicas(self) -> list[_Replica]:
        """Made when the first batch is divided: small ones never are."""
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
        """None where rows cannot be told from one another."""
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
        """Whether it draws in a way that is not known here: parts would take turns at that, in any order."""
        return self.model.training and any(
            ("Drop" in type(module).__name__ and type(module) is not torch.nn.Dropout and getattr(module, "p", 0))
            or any("drop" in name and isinstance(value, float) and value for name, value in vars(module).items())
            for module in self.model.modules()
        )


class _Pass:
    """One pass of a batch through the model, and back."""

    def __init__(self, replicas: Sequence[_Replica], parts: Sequence[_Part], options: Mapping[str, Any], keeps: bool):
        self.replicas, self.parts, self.options, self.keeps = replicas, parts, options, keeps
        self.outputs: list[dict[str, torch.Tensor]] = []
        is_mixed = torch.is_autocast_enabled("cpu")  # a thread does not know of another's precision
        self.precision = partial(torch.autocast, "cpu", torch.get_autocast_dtype("cpu")) if is_mixed else nullcontext
        self.seed = int(torch.randint(2**32, ())) if replicas[0].model.training else 0
        self.kind: Any = dict
        self.names: list[str] = []

    def forward(self) -> tuple[torch.Tensor, ...]:
        """What the model says of all rows, as `names` says."""
        outputs = list(cores.parallel_map(partial(self._of_part, keeps=self.keeps), range(len(self.parts))))
        if self.keeps:
            self.outputs = outputs
        self.names = list(outputs[0])
        return tuple(self._together([output[name] for output in outputs]) for name in self.names)

    def backward(self, gradients: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
        """Of each weight, what flows back to it from the gradients of what `forward` returned."""

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
            replica.model.zero_grad()  # of a pass that memory had no room for
        for _ in cores.parallel_map(flow, range(len(self.parts))):
            pass
        self.outputs = []
        return [_sum(weights) for weights in zip(*(replica.model.parameters() for replica in replicas), strict=True)]

    def _of_part(self, number: int, *, keeps: bool) -> dict[str, torch.Tensor]:
        """What the model says of a part; `keeps` what gradients need."""
        model, draws = self.replicas[number]
        draws.begin(self.seed + number)
        with torch.set_grad_enabled(keeps), self.precision():
            output = model(**self.parts[number].inputs, **self.options)
        self.kind = type(output)
        return {name: output[name] for name in _OUTPUTS if output.get(name) is not None}

    def _together(self, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of all rows what is said of those of each part: by row, or by row and token."""
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
    """A pass as one step of a computation."""

    @staticmethod
    def forward(ctx: Any, passed: _Pass, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.passed = passed
        ctx.set_materialize_grads(False)
        return passed.forward()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        return None, *ctx.passed.backward(gradients)


class _Draws:
    """What is drawn at random in a pass of one part. A draw takes sixteen bits: torch's own take six times as long."""

    def begin(self, seed: int) -> None:
        """From here on what follows from this seed."""
        self._bits = np.random.SFC64(seed)

    def kept(self, values: torch.Tensor, share: float) -> torch.Tensor:
        """As many numbers as `values`, of its kind: 0 for this share of them, 1 for the others."""
        words = self._bits.random_raw(-(-values.numel() // 4))
        drawn = torch.from_numpy(words.view(np.int16)[: values.numel()]).view(values.shape)
        return torch.ge(drawn, round(share * 2**16) - 2**15, out=torch.empty_like(values))


class _Dropout(torch.nn.Module):
    """Dropout of a share `p` that draws for itself."""

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
            module.sparse = True  # of a vocabulary a batch reads little
    return _Replica(replica, draws)


def _sum(weights: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """The gradients of one weight in several replicas, added up in their order, which are given up."""
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
