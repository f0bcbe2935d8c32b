"""A page inside a notebook: in a frame of its own that runs no script and reaches nothing of the notebook."""

from __future__ import annotations

from html import escape

_HEIGHT = 640  # pixels


def framed(page: str) -> str:
    """HTML that shows a page, itself HTML, wherever it is put."""
    return f'<iframe sandbox srcdoc="{escape(page)}" style="width:100%;height:{_HEIGHT}px;border:0"></iframe>'
