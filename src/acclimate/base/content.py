"""Read-only mapping over the content of a JSON object; subclasses add how it is displayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Content(Mapping[str, Any]):
    """A JSON object as a read-only mapping; base class of results that display themselves."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def __getitem__(self, name: str) -> Any:
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)
