"""Files of the field in one format become files in another."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path

from acclimate.corpus.conversion import Conversion
from acclimate.corpus.conversion import convert as convert_files
from acclimate.corpus.formats.registry import FORMATS, Format


def convert(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    source_format: str = "",
    target_format: str = "",
    corpus: str | PathLike[str] | None = None,
    queries: str | PathLike[str] | None = None,
    recognized: Callable[[Format], object] = lambda _: None,
) -> Conversion:
    """Read a file or folder of any known format and write it as another: see `formats` for their names.

    What the source is, is told by what is in it, unless `source_format` says it; what the target is, by the end of its
    name, unless `target_format` does. corpus: any collection, where texts or ids of documents are missing. queries: any
    file of queries, where texts or ids of theirs are. hf:OWNER/NAME and hf:OWNER/NAME/PATH are data sets on Hugging
    Face's hub, or files in them. Ids stay as they are; unknown keys are written where the format has room for them.
    recognized: told what the source is, before anything is written. Raises DataError with file and line for what cannot
    be converted, and SettingError for a name that is no format's.

    >>> print(acclimate.convert("run/filter/queries.jsonl", "run-queries", target_format="beir"))  # doctest: +ELLIPSIS
    synthetic to beir: ... written
    """
    return convert_files(
        fspath(source),
        Path(target),
        source_format=source_format,
        target_format=target_format,
        corpus="" if corpus is None else fspath(corpus),
        queries="" if queries is None else fspath(queries),
        recognized=recognized,
    )


def formats() -> list[Format]:
    """The formats that `convert` knows, by kind.

    >>> [form.name for form in acclimate.formats() if form.kind == "runs"]
    ['trec-run', 'colbert-ranking']
    """
    return list(FORMATS)
