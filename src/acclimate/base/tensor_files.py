"""Files of tensors (safetensors): their shapes, without reading the tensors."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from acclimate.base import files, models
from acclimate.base.errors import DataError

Shapes = dict[str, tuple[int, ...]]

_LONGEST_HEADER = 100_000_000  # bytes, the limit of safetensors


def weight_shapes(folder: Path) -> Shapes:
    """Shapes of all tensors in the folder. Raises DataError if one that the index lists is missing."""
    tensors: Shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= tensor_shapes(path)
    index = folder / "model.safetensors.index.json"
    parts = weight_map(index) if index.is_file() and not (folder / "model.safetensors").is_file() else {}
    if missing := sorted({str(part) for name, part in parts.items() if name not in tensors}):
        raise DataError(f"{missing[0]} is missing or incomplete; download it again", path=folder)
    if not tensors:
        raise models.no_weights(folder)
    return tensors


def tensor_shapes(path: Path) -> Shapes:
    """The shape of each tensor, from a safetensors file's header. Raises DataError for a truncated or invalid file."""
    with files.open_bytes(path) as file:
        size = path.stat().st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
            raise DataError(f"{size:,} bytes that are not a safetensors file; download or convert it again", path=path)
        header = file.read(length)
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        shapes = {name: tuple(int(dim) for dim in entry["shape"]) for name, entry in tensors.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise DataError("its header is not a safetensors header; download or convert it again", path=path) from None
    if 8 + length + end != size:
        raise DataError(
            f"{size:,} bytes, but its header describes {8 + length + end:,}: it is cut short; download it again",
            path=path,
        )
    return shapes


def weight_map(index: Path) -> dict[str, Any]:
    """The file of each tensor, from the index of a model in shards. Raises DataError if it has none."""
    content = files.read_json(index)
    parts = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(parts, dict):
        raise DataError("expected a weight_map, of tensors and their files", path=index)
    return parts
