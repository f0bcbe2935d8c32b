"""The export formats by name, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from acclimate.base.errors import MissingExtra, unknown
from acclimate.base.requirements import outdated


@dataclass(frozen=True)
class Written:
    """What a format wrote, as read back."""

    counts: dict[str, int]  # by kind; "documents" must equal the run's
    notes: dict[str, Any] = field(default_factory=dict)  # for the manifest, JSON-able
    lines: list[str] = field(default_factory=list)  # for people


class Format(NamedTuple):
    """A format to export to, written by the module of its name in this folder."""

    name: str
    summary: str
    takes_reranker: bool = False  # if not, a reranked system is exported without its reranker

    @property
    def write(self) -> Callable[..., Written]:
        """See the package."""
        return self._module.write

    @property
    def load(self) -> Callable[..., dict[str, Any]] | None:
        """See the package; None for a format without a server."""
        return getattr(self._module, "load", None)

    @property
    def _module(self) -> Any:
        return import_module(f"{__package__}.{self.name}")


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("elasticsearch", "Elasticsearch: mapping, bulk files, and a query of retrievers"),
        Format("hf", "model folders for sentence-transformers, transformers and model servers", takes_reranker=True),
        Format("lancedb", "LanceDB: tables of documents with vectors, and of BM25's weights"),
        Format("opensearch", "OpenSearch: mapping, bulk files, and a hybrid query with its pipeline"),
        Format("pgvector", "PostgreSQL with pgvector: tables, and the system as a function; --url loads it"),
        Format("qdrant", "Qdrant: dense, sparse and multivectors; --url loads them"),
        Format("onnx", "dense encoders as ONNX graphs, in full and in eight bits"),
        Format("pylate", "late interaction as PyLate loads it"),
        Format("colbert", "late interaction as ColBERT loads it, of a base that is one"),
        Format("sqlite", "SQLite: one file, with FTS5 and vectors for sqlite-vec"),
        Format("vespa", "Vespa: an application package, a feed, and a query whose rank profile is the system"),
    )
}


def named(name: str) -> Format:
    """The format of that name. Raises SettingError where there is none."""
    if not isinstance(name, str) or name not in FORMATS:
        raise unknown("format to export", name, FORMATS)
    return FORMATS[name]


def needed(module: str, what: str, extra: str) -> Any:
    """Import an optional library. Raises MissingExtra if it is not installed, or a library of its extra is too old."""
    command = f"pip install 'acclimate[{extra}]'"
    try:
        library = import_module(module)
    except ImportError:
        raise MissingExtra(what, command) from None
    if too_old := next(outdated(extra), None):
        raise MissingExtra(what, command, str(too_old))
    return library
