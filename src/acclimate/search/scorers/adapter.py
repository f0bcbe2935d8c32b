"""Adapters of low rank, as peft saves them: a folder that needs the model that it is for."""

from __future__ import annotations

from pathlib import Path

from acclimate.base import models

ADAPTER = "adapter_config.json"


def is_adapter(name: str) -> bool:
    """True for a folder of a decoder's adapter."""
    return (Path(models.resolve(name).path_or_id) / ADAPTER).is_file()
