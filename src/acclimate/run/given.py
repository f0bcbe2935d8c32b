"""What a run is given beside its documents: files, and a model that others trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from acclimate.base.errors import SettingError

StrPath = str | PathLike[str]


@dataclass(frozen=True)
class Given:
    """Paths, and the name of a model; each is an option of the command line, and a field of `run.json`."""

    queries: str | None = None  # to measure on
    qrels: str | None = None
    log: str | None = None  # real queries without judgments
    from_queries: str | None = None  # synthetic queries, in the place of those that an LLM would write
    from_nway: str | None = None  # training examples, in the place of those that would be mined or labelled
    first_stage: str | None = None  # a TREC run
    reranker: str | None = None  # in the place of one that would be trained

    @classmethod
    def of(cls, **given: StrPath | None) -> Given:
        """Raises SettingError for an option without text, and for queries without judgments or these alone."""
        for name, value in given.items():
            if value is not None and not fspath(value):
                raise SettingError(f"{option(name)} is empty; expected {'a model' if name == 'reranker' else 'a file'}")
        if (given.get("queries") is None) != (given.get("qrels") is None):
            raise SettingError("--queries and --qrels go together: give both, or neither")
        return cls(**{name: None if value is None else fspath(value) for name, value in given.items()})

    @property
    def files(self) -> dict[str, Path]:
        """The files by the names of their fields."""
        return {name: Path(value) for name, value in asdict(self).items() if value is not None and name != "reranker"}

    @property
    def brings_queries(self) -> bool:
        """True where synthetic queries are there, so that no LLM writes any."""
        return self.from_queries is not None or self.from_nway is not None

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """What a recipe sets otherwise, by stage: whoever made training examples has chosen their queries already."""
        return {} if self.from_nway is None else {"filter": {"filters": ()}}

    def as_json(self) -> dict[str, str | None]:
        """With paths that mean the same in every folder."""
        return {**asdict(self), **{name: str(path.absolute()) for name, path in self.files.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Given:
        """Runs of earlier versions have some of the fields only."""
        return cls(**{field.name: values.get(field.name) for field in fields(cls)})


NOTHING = Given()


def option(name: str) -> str:
    """A field as the command line has it."""
    return f"--{name.replace('_', '-')}"
