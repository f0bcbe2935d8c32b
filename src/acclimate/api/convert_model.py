"""Published models whose weights are pickles, made into ones that every command takes."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path


def convert_model(source: str | PathLike[str], out: str | PathLike[str]) -> Path:
    """A copy of a model with its pickled weights (`pytorch_model.bin`, in shards or whole) as safetensors; its folder.

    Pickles may run code when they are opened, so no other function opens one, and this one reads nothing but tensors
    from them. Tensors, types and ties stay as they are; configuration and tokenizer are copied, and a vocabulary of
    sentencepiece becomes a tokenizer.json besides.

    source: a folder or a Hugging Face id, such as "castorini/monot5-base-msmarco-10k". out: a folder that is new or
    empty.
    Raises DataError for pickles that hold anything but tensors or are not whole, and for a model that could not be
    loaded, and MissingExtra where a tokenizer needs sentencepiece.

    >>> acclimate.convert_model("run", "converted")
    Traceback (most recent call last):
    ...
    acclimate.base.errors.DataError: run: nothing to convert: no pytorch_model.bin without *.safetensors beside it
    """
    from acclimate.base.pickled import convert

    convert(fspath(source), Path(out))
    return Path(out)
