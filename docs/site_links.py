"""Links out of docs/ lead to files of the repository, which the site does not have: there they are names."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with the text of such links alone."""
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?!how-to|[\w-]+\.md)[^)]*\)", r"\1", markdown)
