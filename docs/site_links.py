"""What is read differently on the site: links out of docs/, and bars in the code of tables.

Such links lead to files of the repository, which the site does not have: there they are names. A bar in the code of a
table is written `\\|`, as GitHub wants it, where the site would show the backslash.
"""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The page as the site reads it."""
    above_docs = "../" * (page.file.src_uri.count("/") + 1)
    markdown = re.sub(rf"\[([^\]]+)\]\({re.escape(above_docs)}[^)]*\)", r"\1", markdown)
    return re.sub(r"^\|.*", _bars, markdown, flags=re.MULTILINE)


def _bars(row: re.Match[str]) -> str:
    return re.sub(r"`[^`]*`", lambda code: code[0].replace(r"\|", "|"), row[0])
