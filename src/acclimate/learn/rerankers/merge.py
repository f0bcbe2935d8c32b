"""Merge the weights of several rerankers into one model.

Works only for models trained from the same base, whose weights stay close.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from acclimate.base.errors import DataError
from acclimate.base.files import atomic_folder


def merge(folders: Sequence[Path], into: Path, *, method: str) -> None:
    """Write to `into` the files of the first folder, with its weights merged with those of the others.

    average: the mean. slerp: along the arc between each tensor and the mean so far (Shoemake 1985), with shares 1/2,
    1/3, ... for the next ones. Raises DataError if names or shapes differ.
    """
    with atomic_folder(into) as merged:
        shutil.copytree(folders[0], merged, dirs_exist_ok=True)
        _merge_weights(folders, merged, method)


def _merge_weights(folders: Sequence[Path], into: Path, method: str) -> None:
    for path in sorted(folders[0].rglob("*.safetensors")):
        name = path.relative_to(folders[0])
        states = [load_file(folder / name) for folder in folders]
        for folder, state in zip(folders, states, strict=True):
            if _shapes(state) != _shapes(states[0]):
                raise DataError(
                    "the weights differ from the first one's; only rerankers of one base can be merged", path=folder
                )
        merged = {key: _merge_tensors([state[key] for state in states], method) for key in states[0]}
        save_file(merged, into / name, metadata={"format": "pt"})


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in state.items()}


def _merge_tensors(tensors: list[torch.Tensor], method: str) -> torch.Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        return first
    wide = [tensor.double() for tensor in tensors]
    if method == "average":
        return torch.stack(wide).mean(0).to(first.dtype).contiguous()
    merged = wide[0]
    for count, tensor in enumerate(wide[1:], 2):
        merged = slerp(merged, tensor, 1 / count)
    return merged.to(first.dtype).contiguous()


def slerp(start: torch.Tensor, end: torch.Tensor, share: float) -> torch.Tensor:
    """The point at `share` of the arc between two directions; on a straight line if they are parallel."""
    lengths = start.norm() * end.norm()
    angle = torch.arccos((start.flatten() @ end.flatten() / lengths.clamp_min(1e-12)).clamp(-1, 1))
    if lengths == 0 or torch.sin(angle) < 1e-4:
        return torch.lerp(start, end, share)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)
