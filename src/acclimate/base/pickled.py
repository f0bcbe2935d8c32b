"""Conversion of pickled weights to safetensors (`acclimate convert-model`).

Many published rerankers are pickles, and unpickling runs whatever code a file holds. Here torch unpickles tensors only
and a file with anything else is refused by name. The output is a folder that every command accepts: the same tensors,
the configuration, and a tokenizer that needs no extra library.
"""

from __future__ import annotations

import errno
import glob
import pickle
import re
import shutil
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.base import files, loading, models
from acclimate.base.errors import DataError
from acclimate.base.tensor_files import weight_map

if TYPE_CHECKING:
    import torch

_WEIGHTS = re.compile(r"(?:pytorch|adapter)_model(?:-\d+-of-(\d+))?\.bin")
_INDEX = "pytorch_model.bin.index.json"
_COPIED = (*models.CONFIGURATION, ".md", ".safetensors")

Tensors = dict[str, "torch.Tensor"]


def convert(name: str, out: Path) -> None:
    """Write the model, a folder or a Hugging Face id, to `out` with its pickled weights as safetensors.

    Raises DataError for pickles that are damaged or hold more than tensors, for a model that cannot be loaded
    afterwards, and if `out` exists; MissingExtra if no installed library reads the tokenizer.
    """
    source = _source(name)
    parts = [part for part in _parts(source) if _pickles(part) and not any(part.glob("*.safetensors"))]
    if not parts:
        raise DataError("nothing to convert: no pytorch_model.bin without *.safetensors beside it", path=source)
    if files.exists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise DataError("there is something here already; name a new folder for the converted model", path=out)
    transformer = loading.transformer_folder(source)
    models.check_tokenizer_library(transformer or source)
    for killed in out.parent.glob(f".{glob.escape(out.name)}.*.part"):
        shutil.rmtree(killed)
    with files.atomic_folder(out) as folder:
        try:
            for part in _parts(source):
                shutil.copytree(part, folder / part.relative_to(source), ignore=_ignored, dirs_exist_ok=True)
            if transformer is not None:
                _write_tokenizer(transformer, folder / transformer.relative_to(source))
            for part in parts:
                model = loading.empty_model(part) if part == transformer else None
                _convert_weights(part, folder / part.relative_to(source), model)
            loading.check_model(str(folder), None)
        except DataError as error:
            raise DataError(str(error).replace(str(folder), str(source))) from None


def _source(name: str) -> Path:
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    model = models.resolve(name)
    if model.is_local:
        raise DataError("nothing to convert: its weights are not pickled", path=name)
    return models.download(model, ".bin")


def _parts(source: Path) -> list[Path]:
    """The folder, and the subfolders of its sentence-transformers modules."""
    paths = [str(module.get("path", "")) for module in models.modules_of(source)]
    parts = [source, *(source / path for path in paths if path)]
    for part in parts:
        if not part.resolve().is_relative_to(source.resolve()) or not part.is_dir():
            raise DataError(f"names {part}; expected a folder next to it", path=source / "modules.json")
    return parts


def _ignored(folder: str, names: list[str]) -> list[str]:
    """The names not to copy: subfolders, weights in other formats, and files that are no part of a model."""
    paths = (Path(folder, name) for name in names)
    return [path.name for path in paths if path.suffix not in _COPIED or path.is_dir() or path.name == _INDEX]


def _write_tokenizer(source: Path, out: Path) -> None:
    """Write a tokenizer.json if the source has only a sentencepiece vocabulary."""
    if models.sentencepiece_of(source) is None:
        return
    from transformers import AutoTokenizer

    with loading.loading(source):
        AutoTokenizer.from_pretrained(str(source)).save_pretrained(str(out))


def _pickles(part: Path) -> list[Path]:
    """The pickled weights in a folder: one file, or shards. Raises DataError if a shard is missing."""
    matches = {path: match for path in sorted(part.glob("*.bin")) if (match := _WEIGHTS.fullmatch(path.name))}
    if (whole := part / "pytorch_model.bin") in matches:
        return [whole]
    expected = {int(match[1]) for match in matches.values() if match[1]}
    if expected and expected != {len(matches)}:
        raise DataError(f"{len(matches)} of {max(expected)} pytorch_model-*.bin are here; get the others", path=part)
    return list(matches)


def _convert_weights(part: Path, target: Path, model: Any) -> None:
    from safetensors.torch import save_file

    index = weight_map(part / _INDEX) if (part / _INDEX).is_file() else {}
    file_of: dict[str, str] = {}
    size = 0
    for path in _pickles(part):
        tensors = _tensors(path)
        if missing := sorted(name for name, file in index.items() if file == path.name and name not in tensors):
            raise DataError(f"no {missing[0]}, which {_INDEX} lists; download it again", path=path)
        tensors = dict(_untied(tensors, model))
        name = path.name.replace("pytorch_model", "model").replace(".bin", ".safetensors")
        save_file(tensors, target / name, metadata={"format": "pt"})
        file_of |= dict.fromkeys(tensors, name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    if len(set(file_of.values())) > 1:
        content = {"metadata": {"total_size": size}, "weight_map": file_of}
        files.write_json(target / "model.safetensors.index.json", content)


_DAMAGED = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, RuntimeError, ValueError),
    *(LookupError, AttributeError, TypeError, AssertionError),
)  # raised by torch for truncated and corrupted files


def load(path: Path, *, maps: bool = False) -> Any:
    """What torch saved in a file, if it is data alone. Raises ValueError for a damaged one, and for one that is code.

    maps: read tensors from the file only where they are used, if its format allows.
    """
    import torch

    try:
        maps = maps and zipfile.is_zipfile(path)  # torch's format since 1.6
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles in older formats
            return torch.load(path, map_location="cpu", weights_only=True, mmap=maps)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a zip file whose end is missing, torch seeks it before the start
            raise
        raise ValueError(str(error)) from None
    except _DAMAGED as error:
        raise ValueError(str(error)) from None


def _tensors(path: Path) -> Tensors:
    """The tensors in a pickle, by name. Raises DataError if it holds anything else."""
    import torch

    try:
        content = load(path, maps=True)
    except ValueError as error:
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise DataError(
            f"asks for {forbidden[1]}, which is not a tensor, so it is not read: it could run code"
            if forbidden
            else "no readable pickled tensors; download it again",
            path=path,
        ) from None
    if not isinstance(content, dict) or not content:
        raise DataError(f"a {type(content).__name__}; expected tensors by name", path=path)
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            kind = "sparse tensor" if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise DataError(f"{name!r} is a {kind}; expected tensors by name and nothing else", path=path)
    return content


def _untied(tensors: Mapping[str, torch.Tensor], model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor in its own memory (as safetensors requires); of names that the model ties, only the first."""
    import torch

    parameters = {} if model is None else dict(model.named_parameters(remove_duplicate=False))
    order = {loading.canonical_name(name, model): place for place, name in enumerate(parameters)}
    tied = {loading.canonical_name(name, model): id(parameter) for name, parameter in parameters.items()}
    canonical = {name: loading.canonical_name(name, model) if model else name for name in tensors}
    written: set[tuple[Any, ...]] = set()
    for name in sorted(tensors, key=lambda name: (order.get(canonical[name], len(order)), name)):
        tensor = tensors[name].detach()
        place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
        parameter = (tied.get(canonical[name], name), *place)
        if parameter not in written:
            written.add(parameter)
            yield name, tensor.clone(memory_format=torch.contiguous_format)
