"""Links out of docs/ lead to files of the repository, which the site does not have: there they are names."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The page with the text of such links alone."""
    above_docs = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\[([^\]]+)\]\({re.escape(above_docs)}[^)]*\)", r"\1", markdown)
