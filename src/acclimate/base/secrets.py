"""Redaction of secrets in addresses: user and password, keys in the query string, the fragment."""

from __future__ import annotations

import re

VERSION = "api-version"  # the only query parameter shown: Azure's servers need it
_ADDRESS = re.compile(r"(?P<scheme>[a-zA-Z][\w+.-]+://?)(?P<behind>[^\s'\"<>]+)")
_USER = re.compile(r"@[^@\s/*]+:(?!//)[^@\s]+@")  # in an address without a scheme


def has_secret(name: str) -> bool:
    """True if an LLM's name or an address contains what `redacted` would cover."""
    return redacted(name) != name


def redacted(text: str) -> str:
    """The text with possible secrets in its addresses replaced by ***."""

    def cover(match: re.Match[str]) -> str:
        before, hash_, fragment = match["behind"].partition("#")
        address, mark, query = before.partition("?")
        user, separator, rest = address.rpartition("@")  # a password may contain a slash, a path an @
        if separator and not re.match(r"[^:]*/", user):
            address = f"***@{rest}"
        if not all(part.startswith(f"{VERSION}=") for part in query.split("&")):
            query = "***" if query else ""
        return f"{match['scheme']}{address}{mark}{query}{hash_}{'***' if fragment else ''}"

    return _USER.sub("@***@", _ADDRESS.sub(cover, text))
