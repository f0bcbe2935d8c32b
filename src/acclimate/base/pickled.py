"""Pickled weights become safetensors, when someone asks for it.

Many published rerankers are pickles, and unpickling runs whatever code a file holds. Here torch reads them with all but
tensors forbidden, and a file that holds anything else is refused by its name. What is written is a folder that every
command takes: the same tensors, the configuration, and a tokenizer that needs no other library to be read.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    import torch

_WEIGHTS = re.compile(r"(?:pytorch|adapter)_model(?:-\d+-of-(\d+))?\.bin")
_INDEX = "pytorch_model.bin.index.json"
_COPIED = (*models.CONFIGURATION, ".md", ".safetensors")

Tensors = dict[str, "torch.Tensor"]


def convert(name: str, out: Path) -> None:
    """Write the model of that name, a folder or a Hugging Face id, with its pickled weights as safetensors to `out`.

    Raises DataError for pickles that hold more than tensors or are not whole, for a model that could not be loaded
    afterwards, and where `out` is in use; MissingExtra for a tokenizer that no library here reads.
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
                shutil.copytree(part, folder / part.relative_to(source), ignore=_left_out, dirs_exist_ok=True)
            if transformer is not None:
                _write_tokenizer(transformer, folder / transformer.relative_to(source))
            for part in parts:
                model = loading.empty(part) if part == transformer else None
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
        raise DataError("nothing to convert: its weights are no pickles", path=name)
    return models.download(model, ".bin")


def _parts(source: Path) -> list[Path]:
    """The folder, and those of its modules where sentence-transformers saved it."""
    listing = source / "modules.json"
    modules = files.read_json(listing) if listing.is_file() else []
    paths = [str(module.get("path", "")) for module in modules if isinstance(module, dict)]
    parts = [source, *(source / path for path in paths if path)]
    for part in parts:
        if not part.resolve().is_relative_to(source.resolve()) or not part.is_dir():
            raise DataError(f"names {part}; expected a folder beside it", path=listing)
    return parts


def _left_out(folder: str, names: list[str]) -> list[str]:
    """What is no part of a model: subfolders and weights of other kinds."""
    paths = (Path(folder, name) for name in names)
    return [path.name for path in paths if path.suffix not in _COPIED or path.is_dir() or path.name == _INDEX]


def _write_tokenizer(source: Path, out: Path) -> None:
    """A tokenizer.json, where there is only the vocabulary of sentencepiece."""
    if models.sentencepiece_of(source) is None:
        return
    from transformers import AutoTokenizer

    with loading.loading(source):
        AutoTokenizer.from_pretrained(str(source)).save_pretrained(str(out))


def _pickles(part: Path) -> list[Path]:
    """The files of weights in a folder: one, or shards. Raises DataError where a shard is not there."""
    matches = {path: match for path in sorted(part.glob("*.bin")) if (match := _WEIGHTS.fullmatch(path.name))}
    if (whole := part / "pytorch_model.bin") in matches:
        return [whole]
    expected = {int(match[1]) for match in matches.values() if match[1]}
    if expected and expected != {len(matches)}:
        raise DataError(f"{len(matches)} of {max(expected)} pytorch_model-*.bin are here; get the others", path=part)
    return list(matches)


def _convert_weights(part: Path, target: Path, model: Any) -> None:
    from safetensors.torch import save_file

    index = files.read_json(part / _INDEX).get("weight_map", {}) if (part / _INDEX).is_file() else {}
    homes: dict[str, str] = {}
    size = 0
    for path in _pickles(part):
        tensors = _tensors(path)
        if lost := sorted(name for name, home in index.items() if home == path.name and name not in tensors):
            raise DataError(f"no {lost[0]}, which {_INDEX} says is here; download it again", path=path)
        tensors = dict(_once(tensors, model))
        name = path.name.replace("pytorch_model", "model").replace(".bin", ".safetensors")
        save_file(tensors, target / name, metadata={"format": "pt"})
        homes |= dict.fromkeys(tensors, name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    if len(set(homes.values())) > 1:
        content = {"metadata": {"total_size": size}, "weight_map": homes}
        files.write_json(target / "model.safetensors.index.json", content)


_DAMAGED = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, RuntimeError, ValueError),
    *(LookupError, AttributeError, TypeError, AssertionError),
)  # what torch raises of files that are cut, or have other bytes here and there


def _tensors(path: Path) -> Tensors:
    """What a pickle holds, by name. Raises DataError for one that holds anything but tensors."""
    import torch

    try:
        is_zip = zipfile.is_zipfile(path)  # as torch has written them since 1.6
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch itself would have written otherwise
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except _DAMAGED as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise DataError(
            f"asks for {asked[1]}, which is no tensor, so it is not read: it could run code of its own"
            if asked
            else "no pickled tensors that could be read; download it again",
            path=path,
        ) from None
    if not isinstance(content, dict) or not content:
        raise DataError(f"a {type(content).__name__}; expected tensors by name", path=path)
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            kind = "sparse tensor" if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise DataError(f"{name!r} is a {kind}; expected tensors by name and nothing else", path=path)
    return content


def _once(tensors: Mapping[str, torch.Tensor], model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor with memory of its own, and of several names of one that the model ties only the first."""
    import torch

    parameters = {} if model is None else dict(model.named_parameters(remove_duplicate=False))
    order = {loading.plain(name, model): place for place, name in enumerate(parameters)}
    tied = {loading.plain(name, model): id(parameter) for name, parameter in parameters.items()}
    plain = {name: loading.plain(name, model) if model else name for name in tensors}
    written: set[tuple[Any, ...]] = set()
    for name in sorted(tensors, key=lambda name: (order.get(plain[name], len(order)), name)):
        tensor = tensors[name].detach()
        place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
        parameter = (tied.get(plain[name], name), *place)
        if parameter not in written:
            written.add(parameter)
            yield name, tensor.clone(memory_format=torch.contiguous_format)
