"""Commands for conversion: of files between formats, and of pickled weights to safetensors."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acclimate
from acclimate.base.errors import SettingError
from acclimate.base.text import on_one_line
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
    """Convert collections, runs, judgments, synthetic queries and training examples between formats.

    The format of FROM is detected from its content.

    Parameters
    ----------
    source
        A file or folder; or hf:OWNER/NAME or hf:OWNER/NAME/PATH on the Hugging Face hub.
    target
        File or folder to write.
    from_
        Format of FROM, if it cannot be detected.
    to
        Format of TO, if its name does not determine it.
    corpus
        Documents, needed if only one of FROM and TO has document texts: a collection as for adapt, a file of documents,
        or the folder of a run, for what it indexed.
    queries
        Queries, needed if only one of FROM and TO has query texts.
    list_
        List the formats.
    """
    if list_:
        _print_formats()
        return
    if not source or target is None:
        raise SettingError("convert needs FROM and TO; list the formats with acclimate convert --list")
    conversion = acclimate.convert(
        source,
        target,
        source_format=from_ or "",
        target_format=to or "",
        corpus=corpus,
        queries=queries,
        recognized=lambda form: print(on_one_line(f"{source}: {form.name} ({form.what})"), file=sys.stderr),
    )
    for note, count in conversion.notes.items():
        print(f"{note}: {count:,}", file=sys.stderr)
    print(on_one_line(f"{target}: {conversion}"))


def convert_model(source: str, out: Path) -> None:
    """Convert a model from pickled weights (pytorch_model.bin) to safetensors, which every command reads.

    Opening a pickle can execute code, so no other command does it. This one reads only tensors and refuses files that
    contain anything else.

    Parameters
    ----------
    source
        A folder, or a Hugging Face id with an optional @revision.
    out
        New folder for the converted model.
    """
    print(f"Converted: {acclimate.convert_model(source, out)}")


def _print_formats() -> None:
    forms = acclimate.formats()
    width = max(len(form.name) for form in forms)
    for kind, group in groupby(forms, lambda form: form.kind):
        print(f"{kind}:")
        for form in group:
            print(f"  {form.name:{width}}  {form.what}{'' if form.write else ' (read only)'}")
