"""The commands that work on models, without a run."""

from __future__ import annotations

from pathlib import Path

import acclimate


def convert_model(source: str, out: Path) -> None:
    """Write a model whose weights are pickles (pytorch_model.bin) as safetensors, which every command takes.

    Opening a pickle may run code, so no other command does; here nothing but tensors is read from it, and a file that
    holds anything else is refused.

    Parameters
    ----------
    source
        A folder, or a Hugging Face id with an optional @revision.
    out
        A new folder for the converted model.
    """
    print(f"Converted: {acclimate.convert_model(source, out)}")
