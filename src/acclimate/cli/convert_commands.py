"""The commands that convert: files of one format into another, and pickled weights into safetensors."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acclimate
from acclimate.base.errors import SettingError
from acclimate.cli.options import File

FormatName = Annotated[str | None, Parameter(metavar="FORMAT")]


def convert(
    source: Annotated[str | None, Parameter(name="FROM")] = None,
    target: Annotated[Path | None, Parameter(name="TO")] = None,
    /,
    *,
    from_: Annotated[str | None, Parameter(name="--from", metavar="FORMAT")] = None,
    to: FormatName = None,
    corpus: File = None,
    queries: File = None,
    list_: Annotated[bool, Parameter(name="--list", show_default=False)] = False,
) -> None:
    """Convert files of the field: collections, runs, judgments, synthetic queries and training examples.

    What FROM is, is told by what is in it.

    Parameters
    ----------
    source
        A file or folder; or hf:OWNER/NAME or hf:OWNER/NAME/PATH, on Hugging Face's hub.
    target
        The file or folder to write.
    from_
        The format of FROM, where it cannot be told.
    to
        The format of TO, where its name does not say it.
    corpus
        The documents, where FROM has ids and TO texts, or the other way round: a collection, as adapt takes it, or a
        file of documents.
    queries
        The queries, where FROM has their ids and TO their texts, or the other way round.
    list_
        Say which formats there are.
    """
    if list_:
        _print_formats()
        return
    if not source or target is None:
        raise SettingError("convert needs FROM and TO; acclimate convert --list says which formats there are")
    conversion = acclimate.convert(
        source,
        target,
        source_format=from_ or "",
        target_format=to or "",
        corpus=corpus,
        queries=queries,
        recognized=lambda form: print(f"{source}: {form.name} ({form.what})", file=sys.stderr),
    )
    for note, count in conversion.notes.items():
        print(f"{note}: {count:,}", file=sys.stderr)
    print(f"{target}: {conversion}")


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


def _print_formats() -> None:
    forms = acclimate.formats()
    width = max(len(form.name) for form in forms)
    for kind, group in groupby(forms, lambda form: form.kind):
        print(f"{kind}:")
        for form in group:
            print(f"  {form.name:{width}}  {form.what}{'' if form.write else ' (read only)'}")
