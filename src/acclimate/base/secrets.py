"""What may be a secret in an address: a user with a password, a key in a query. It is covered wherever one is shown."""

from __future__ import annotations

import re

VERSION = "api-version"  # the one thing that may follow a "?": Azure's servers want it with each request
_ADDRESS = re.compile(r"(?P<scheme>[a-zA-Z][\w+.-]+://?)(?P<behind>[^\s'\"<>]+)")
_USER = re.compile(r"@[^@\s/*]+:(?!//)[^@\s]+@")  # where a scheme was forgotten


def has_secret(name: str) -> bool:
    """True for the name of an LLM, or an address, that may hold one: a user, what follows #, a key in a query."""
    return redacted(name) != name


def redacted(text: str) -> str:
    """A text with whatever may be a secret in its addresses covered."""

    def cover(match: re.Match[str]) -> str:
        before, hash_, fragment = match["behind"].partition("#")
        address, mark, query = before.partition("?")
        user, separator, rest = address.rpartition("@")  # a password may have a slash in it, a path may have an @
        if separator and not re.match(r"[^:]*/", user):
            address = f"***@{rest}"
        if not all(part.startswith(f"{VERSION}=") for part in query.split("&")):
            query = "***" if query else ""
        return f"{match['scheme']}{address}{mark}{query}{hash_}{'***' if fragment else ''}"

    return _USER.sub("@***@", _ADDRESS.sub(cover, text))
