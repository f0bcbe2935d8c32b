"""What the user provides beside the documents: files, and possibly a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from acclimate.base.arguments import StrPath, path_text
from acclimate.base.errors import SettingError


@dataclass(frozen=True)
class Provided:
    """File paths, and the name of a reranker; each is an option of the command line, and a field of `run.json`."""

    queries: str | None = None  # to measure on
    qrels: str | None = None
    log: str | None = None  # real queries without judgments
    from_queries: str | None = None  # synthetic queries, instead of generating them
    from_nway: str | None = None  # training examples, instead of mining or labelling them
    first_stage: str | None = None  # a TREC run
    reranker: str | None = None  # instead of training one

    @classmethod
    def of(cls, **options: StrPath | None) -> Provided:
        """Validate options. Raises SettingError for an empty one, and for queries without qrels or the reverse."""
        paths = {name: None if value is None else path_text(value, name) for name, value in options.items()}
        for name, path in paths.items():
            if path == "":
                raise SettingError(f"{option(name)} is empty; expected {'a model' if name == 'reranker' else 'a file'}")
        if (options.get("queries") is None) != (options.get("qrels") is None):
            raise SettingError("--queries and --qrels go together: give both, or neither")
        return cls(**paths)

    @property
    def files(self) -> dict[str, Path]:
        """The files by field name."""
        return {name: Path(value) for name, value in asdict(self).items() if value is not None and name != "reranker"}

    @property
    def brings_queries(self) -> bool:
        """True if synthetic queries are provided, so no LLM writes any."""
        return self.from_queries is not None or self.from_nway is not None

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """Settings that follow from what is provided, by stage: with training examples, queries are not filtered."""
        return {} if self.from_nway is None else {"filter": {"filters": ()}}

    def as_json(self) -> dict[str, str | None]:
        """The fields with absolute paths."""
        return {**asdict(self), **{name: str(path.absolute()) for name, path in self.files.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Provided:
        """Load fields; runs of earlier versions lack some."""
        return cls(**{field.name: values.get(field.name) for field in fields(cls)})


NOTHING = Provided()


def option(name: str) -> str:
    """The command line option of a field."""
    return f"--{name.replace('_', '-')}"
