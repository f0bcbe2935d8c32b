"""A fake second device: its tensors compute on the CPU but report another device.

Inside `Elsewhere()`, operations that mix both devices raise as on a GPU, as does `.numpy()` of a remote tensor;
everything else gives the CPU's numbers. So code that would mix devices on a GPU fails here too.
"""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "meta"  # a device that every torch has


class AsCuda(str):
    """The name of the fake device, which also equals "cuda", so that code for CUDA only runs."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        return other == "cuda" or super().__eq__(other)

    def __ne__(self, other):
        return not self == other


_aten = torch.ops.aten
_MOVING = {_aten.copy_.default, _aten._to_copy.default}  # between devices
_INDEXING = {_aten.index.Tensor, _aten.index_put_.default}  # indexes of what is there may come from the CPU
# Operations that wait for a GPU: they need its numbers on the CPU, or to determine a size.
_WAITING = {_aten._local_scalar_dense.default, _aten.nonzero.default, _aten.masked_select.default, _aten.equal.default}
waits: list[str] = []  # operations that would have waited for the GPU


class Remote(torch.Tensor):
    """A tensor on the fake device; `here` holds its numbers."""

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
        return self.here.__reduce_ex__(protocol)  # like torch.load(map_location="cpu")

    def __repr__(self, **_):
        return f"elsewhere: {self.here!r}"


class _Given(TorchFunctionMode):
    """Makes `torch.tensor(numbers, device=...)` keep the numbers, which the meta device would drop."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        place = kwargs.pop("device", None) if func in (torch.tensor, torch.as_tensor) else None
        made = func(*args, **kwargs)
        return made if place is None else made.to(place)


class Elsewhere(TorchDispatchMode):
    """Puts tensors created on, or moved to, `NAME` on the fake device."""

    def __enter__(self):
        # Inference mode does not support views of outside tensors; no_grad is close enough.
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
    """An index with its lists as tensors; torch would create them on the device, losing their numbers."""
    parts = at if isinstance(at, tuple) else (at,)
    return tuple(torch.tensor(list(part)) if isinstance(part, list | range) else part for part in parts)


def run(func, args, kwargs):
    tensors: list[torch.Tensor] = []
    _changed((args, kwargs), tensors.append)
    remote = [one for one in tensors if isinstance(one, Remote)]
    free = [] if func not in _INDEXING or not isinstance(args[0], Remote) else [*map(id, args[1])]
    here = [one for one in tensors if not isinstance(one, Remote) and id(one) not in free]
    if remote and func not in _MOVING and any(one.dim() for one in here):
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
    changed = {id(one.here): one for one in remote}  # in-place operations return the same tensor

    def back(one):
        return changed[id(one)] if id(one) in changed else Remote(one) if is_remote else one

    return _changed(result, back)


def _changed(parts, change):
    """Apply `change` to each tensor in nested arguments; torch's own function takes most of these tests' time."""
    if isinstance(parts, torch.Tensor):
        return change(parts)
    if isinstance(parts, list | tuple):
        return type(parts)([_changed(part, change) for part in parts])
    if isinstance(parts, dict):
        return {name: _changed(part, change) for name, part in parts.items()}
    return parts


def _leaves(func, args, is_remote):
    """True if the operation copies numbers to the CPU."""
    source = args[1] if func is _aten.copy_.default else args[0] if func is _aten._to_copy.default else None
    return isinstance(source, Remote) and not is_remote


def _counts(func, args, kwargs):
    """True if remote numbers determine the size of the result, as masks and repetitions of unknown sum do."""
    if func is _aten.index.Tensor:
        return any(isinstance(at, Remote) and at.dtype == torch.bool for at in args[1])
    return func is _aten.repeat_interleave.Tensor and kwargs.get("output_size") is None
