"""Show a page in a notebook, in a sandboxed frame that runs no script."""

from __future__ import annotations

from html import escape

_HEIGHT = 640  # pixels


def framed(page: str) -> str:
    """HTML that embeds a page, itself HTML."""
    return f'<iframe sandbox srcdoc="{escape(page)}" style="width:100%;height:{_HEIGHT}px;border:0"></iframe>'
