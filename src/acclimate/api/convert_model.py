"""Convert published models with pickled weights to safetensors, which every command can load."""

from __future__ import annotations

from pathlib import Path

from acclimate.base.arguments import StrPath, path_of, path_text


def convert_model(source: StrPath, out: StrPath) -> Path:
    """Copy a model, converting its pickled weights (`pytorch_model.bin`, also in shards) to safetensors.

    Returns the new folder. Unpickling may run code, so no other function does it, and this one reads nothing but
    tensors. Tensors, dtypes and ties are preserved; configuration and tokenizer are copied, and a sentencepiece
    vocabulary also becomes a tokenizer.json.

    source: a folder or a Hugging Face id, such as "castorini/monot5-base-msmarco-10k". out: a new or empty folder.
    Raises DataError for pickles that hold anything but tensors or are truncated, and for a model that could not be
    loaded, MissingExtra if a tokenizer needs sentencepiece.

    >>> acclimate.convert_model("run", "converted")
    Traceback (most recent call last):
    ...
    acclimate.base.errors.DataError: run: nothing to convert: no pytorch_model.bin without *.safetensors beside it
    """
    from acclimate.base.pickled import convert

    folder = path_of(out, "out")
    convert(path_text(source, "source"), folder)
    return folder
