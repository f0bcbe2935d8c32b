"""Front matter: YAML at the beginning of a page, or TOML between plus signs as Hugo has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_FRONT_MATTER = re.compile(
    r"\ufeff?(?P<mark>---|\+\+\+)[ \t]*\r?\n(?P<fields>.*?)^(?:(?P=mark)|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
_MERGE = re.compile(r"<<\s*:")  # a few lines of YAML with merged mappings may expand to billions
_LONGEST = 20_000  # characters


def front_matter(content: str) -> Mapping[str, Any]:
    """The fields of the front matter; {} if there is none."""
    return split(content)[0]


def split(content: str) -> tuple[Mapping[str, Any], str]:
    """(fields of the front matter, the page below it); {} and the whole page if there is none."""
    match = _FRONT_MATTER.match(content)
    if match is None or len(match["fields"]) > _LONGEST or _MERGE.search(match["fields"]):
        return {}, content
    import tomllib

    import yaml

    try:
        fields = (tomllib.loads if match["mark"] == "+++" else yaml.safe_load)(match["fields"].replace("\r\n", "\n"))
    except (yaml.YAMLError, ValueError, RecursionError):  # a date of the 31st of February
        return {}, content
    return (fields, content[match.end() :]) if isinstance(fields, dict) else ({}, content)


def title_of(fields: Mapping[str, Any]) -> str:
    """The title among the fields; "" if there is none."""
    title = fields.get("title")
    return " ".join(title.split()) if isinstance(title, str) else ""
