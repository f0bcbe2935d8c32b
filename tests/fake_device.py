"""A second device that is none: its tensors hold their numbers on the CPU and say that they are elsewhere.

Within `Elsewhere()`, an operation on tensors of both places raises as it does on a GPU, `.numpy()` of what is elsewhere
too, and everything else gives the numbers that the CPU does. So whatever would mix devices on a GPU does so here.
"""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "meta"  # of the devices that any torch has, the one without numbers of its own


class AsCuda(str):
    """The name of this device, which is "cuda" where one asks: so that what is done for CUDA alone is done here."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        return other == "cuda" or super().__eq__(other)

    def __ne__(self, other):
        return not self == other


_aten = torch.ops.aten
# What moves between devices, and what a GPU takes indexes from the CPU for.
_MIXING = {_aten.copy_.default, _aten._to_copy.default, _aten.index.Tensor, _aten.index_put_.default}
# What a GPU is waited for: its numbers come here, or decide how large something is.
_WAITING = {_aten._local_scalar_dense.default, _aten.nonzero.default, _aten.masked_select.default, _aten.equal.default}
waits: list[str] = []  # the operations for which it would have been waited for


class Remote(torch.Tensor):
    """A tensor that is elsewhere; `here` has its numbers."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here):
        made = torch.Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), dtype=here.dtype, device=NAME
        )
        made.here = here
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def __getitem__(self, at):
        return super().__getitem__(_as_tensors(at))

    def __setitem__(self, at, values):
        super().__setitem__(_as_tensors(at), values)

    def tolist(self):
        waits.append("tolist")
        return self.here.tolist()

    def __deepcopy__(self, memo):
        copied = Remote(self.here.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol):
        return self.here.__reduce_ex__(protocol)  # as with torch.load(map_location="cpu")

    def __repr__(self, **_):
        return f"elsewhere: {self.here!r}"


class _Given(TorchFunctionMode):
    """`torch.tensor(numbers, device=...)` drops the numbers on this device: they are moved instead."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        place = kwargs.pop("device", None) if func in (torch.tensor, torch.as_tensor) else None
        made = func(*args, **kwargs)
        return made if place is None else made.to(place)


class Elsewhere(TorchDispatchMode):
    """Within, what is made on or moved to `NAME` is there."""

    def __enter__(self):
        # Tensors of inference mode know no views of tensors from outside of it: without gradients is near enough.
        self._kept = torch.inference_mode.__enter__, torch.inference_mode.__exit__
        torch.inference_mode.__enter__ = lambda mode: torch._C._set_grad_enabled(False)
        torch.inference_mode.__exit__ = lambda *_: torch._C._set_grad_enabled(True)
        self._given = _Given().__enter__()
        return super().__enter__()

    def __exit__(self, *raised):
        torch.inference_mode.__enter__, torch.inference_mode.__exit__ = self._kept
        super().__exit__(*raised)
        self._given.__exit__(*raised)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def _as_tensors(at):
    """An index whose lists are tensors: torch would make them on the device, where they would lose their numbers."""
    parts = at if isinstance(at, tuple) else (at,)
    return tuple(torch.tensor(list(part)) if isinstance(part, list | range) else part for part in parts)


def run(func, args, kwargs):
    tensors: list[torch.Tensor] = []
    _changed((args, kwargs), tensors.append)
    remote = [one for one in tensors if isinstance(one, Remote)]
    if remote and func not in _MIXING and any(one.dim() for one in tensors if not isinstance(one, Remote)):
        raise RuntimeError(f"Expected all tensors to be on the same device, found two in {func}")
    wanted = kwargs.get("device")
    is_remote = bool(remote) if wanted is None else torch.device(wanted).type == NAME
    if func is _aten.copy_.default:
        is_remote = isinstance(args[0], Remote)
    if wanted is not None and is_remote:
        kwargs = {**kwargs, "device": "cpu"}
    if remote and (func in _WAITING or _leaves(func, args, is_remote) or _counts(func, args, kwargs)):
        waits.append(str(func))
    here_args, here_kwargs = _changed((args, kwargs), lambda one: one.here if isinstance(one, Remote) else one)
    result = func(*here_args, **here_kwargs)
    changed = {id(one.here): one for one in remote}  # in place: it stays the tensor that it was

    def back(one):
        return changed[id(one)] if id(one) in changed else Remote(one) if is_remote else one

    return _changed(result, back)


def _changed(parts, change):
    """The same with each of its tensors changed; torch's own way to do it takes most of the time of these tests."""
    if isinstance(parts, torch.Tensor):
        return change(parts)
    if isinstance(parts, list | tuple):
        return type(parts)([_changed(part, change) for part in parts])
    if isinstance(parts, dict):
        return {name: _changed(part, change) for name, part in parts.items()}
    return parts


def _leaves(func, args, is_remote):
    """Whether it brings numbers here."""
    source = args[1] if func is _aten.copy_.default else args[0] if func is _aten._to_copy.default else None
    return isinstance(source, Remote) and not is_remote


def _counts(func, args, kwargs):
    """Whether numbers that are elsewhere say how large the result is: masks do, and repetitions of unknown sum."""
    if func is _aten.index.Tensor:
        return any(isinstance(at, Remote) and at.dtype == torch.bool for at in args[1])
    return func is _aten.repeat_interleave.Tensor and kwargs.get("output_size") is None
