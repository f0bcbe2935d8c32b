"""Convert files between formats, completed from collections, files or runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.base.arguments import StrPath, path_text
from acclimate.base.files import exists
from acclimate.corpus import conversion
from acclimate.corpus.conversion import Conversion
from acclimate.run import description
from acclimate.stages.runs import open_run

if TYPE_CHECKING:
    from acclimate.corpus.documents import Corpus
    from acclimate.corpus.formats.registry import Format


def convert(
    source: StrPath,
    target: StrPath,
    *,
    source_format: str = "",
    target_format: str = "",
    corpus: StrPath | None = None,
    queries: StrPath | None = None,
    recognized: Callable[[Format], object] = lambda _: None,
) -> Conversion:
    """Read a file or folder of any known format and write it as another: see `formats` for their names.

    The source's format is recognized by content, unless `source_format` names it; the target's by suffix, unless
    `target_format` does. corpus: any collection, to look up texts or ids of documents, or the folder of a run: what it
    indexed, such as passages. queries: any file of queries, to look up theirs. hf:OWNER/NAME and hf:OWNER/NAME/PATH are
    data sets on Hugging Face's hub, or files in them. Ids are preserved; unknown keys are written if the format has
    room for them. recognized: called with the source's format before anything is written. Raises DataError with file
    and line for what cannot be converted, and SettingError for an unknown format.

    >>> print(acclimate.convert("run/filter/queries.jsonl", "run-queries", target_format="beir"))  # doctest: +ELLIPSIS
    synthetic to beir: ... written
    """
    return conversion.convert(
        source,
        target,
        source_format=source_format,
        target_format=target_format,
        corpus=_indexed(corpus),
        queries=queries,
        recognized=recognized,
    )


def _indexed(corpus: StrPath | None) -> StrPath | Corpus | None:
    """What a run indexed, if this is its folder; anything else as given."""
    name = "" if corpus is None else path_text(corpus, "corpus")
    if not name or not exists(Path(name) / description.NAME):
        return corpus
    return open_run(Path(name), "index")[0].input.corpus
