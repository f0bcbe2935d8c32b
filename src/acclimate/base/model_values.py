"""Check values in a model's files that its libraries take as they are: they fail on them later, or replace them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate.base import files, models
from acclimate.base.errors import DataError
from acclimate.base.text import quoted

_OBJECTS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
_LIMITS = ("max_seq_length", "model_max_length")
_TORCH = "torch."


def check_values(folder: Path, transformer: Path) -> None:
    """Raise DataError for values with which the model in the folder cannot be used as it was made.

    transformer: the folder of its transformer, perhaps the same.
    """
    for part in {folder, transformer}:
        for path in (part / name for name in _OBJECTS):
            if path.is_file():
                _check_settings(path, _object(path))
    for module in models.modules_of(folder):
        path = folder / str(module.get("path", "")) / "config.json"
        if str(module.get("type")).endswith(".Dense") and path.is_file():
            _check_activation(path, _object(path).get("activation_function", _TORCH))


def _object(path: Path) -> dict[str, Any]:
    values = files.read_json(path)
    if not isinstance(values, dict):
        raise DataError("expected a JSON object", path=path)
    return values


def _check_settings(path: Path, values: Mapping[str, Any]) -> None:
    for key in _LIMITS:
        limit = values.get(key)
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is not None and not (is_number and limit >= 1 and limit % 1 == 0):
            raise DataError(f"{key} is {quoted(limit)}; expected a number of tokens, at least 1", path=path)
    prompts = values.get("prompts")
    if not isinstance(prompts, dict | None) or any(
        not isinstance(text, str | None) for text in (prompts or {}).values()
    ):
        raise DataError(f"prompts is {quoted(prompts)}; expected a text for each task", path=path)


def _check_activation(path: Path, name: object) -> None:
    """Raise DataError for a function that the library would replace by another, without a word."""
    if not (isinstance(name, str) and name.startswith(_TORCH)):
        raise DataError(
            f"activation_function is {quoted(name)}; expected a class of torch, as custom model code is never run",
            path=path,
        )
