"""What was read from a JSON file, or goes into it, as a mapping with a face of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Content(Mapping[str, Any]):
    """An object of JSON, by its keys; whoever extends it says how it is shown."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def __getitem__(self, name: str) -> Any:
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)
