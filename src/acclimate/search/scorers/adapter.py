"""LoRA adapters as saved by peft: a folder that refers to its base model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from acclimate.base import models
from acclimate.base.digests import fingerprint, folder_fingerprint
from acclimate.base.errors import DataError, MissingExtra
from acclimate.base.files import read_json

ADAPTER = "adapter_config.json"


def is_adapter(name: str) -> bool:
    """True for the folder of a decoder's adapter."""
    return (Path(models.resolve(name).path_or_id) / ADAPTER).is_file()


def check_peft() -> None:
    """Raises MissingExtra without peft, which makes and reads adapters."""
    if importlib.util.find_spec("peft") is None:
        raise MissingExtra("An adapter of low rank (train.lora_rank)", "pip install 'acclimate[lora]'")


def base_of(folder: Path) -> str:
    """The base of the adapter in this folder. Raises DataError if there is none, or it is unsafe."""
    config = read_json(folder / ADAPTER)
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str) or not base:
        raise DataError("expected base_model_name_or_path, the base model of the adapter", path=folder / ADAPTER)
    if not (folder / "adapter_model.safetensors").is_file():
        raise models.no_weights(folder)
    return base


def weights_of(name: str) -> str:
    """Fingerprint of a model's weights, including the other files of a folder and the base of an adapter."""
    folder = Path(name)
    if not folder.is_dir():
        return models.weights_fingerprint(name)
    beside = folder_fingerprint(folder)
    return fingerprint(beside, models.weights_fingerprint(base_of(folder))) if is_adapter(name) else beside
