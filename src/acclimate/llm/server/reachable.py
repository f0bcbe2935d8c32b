"""Whether a server accepts connections: looked at before a run begins, whose first request may be hours away."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_TIMEOUT_SECONDS = 3


def why_unreachable(urls: Sequence[str]) -> str:
    """Why no server at these addresses accepts a connection; "" if one does, or if a proxy decides that."""
    reasons = [_reason(url) for url in urls]
    return reasons[0] if all(reasons) else ""


def _reason(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if {parts.scheme, "all"} & getproxies().keys() and not proxy_bypass(host):
        return ""
    try:
        socket.create_connection((host, parts.port or {"https": 443}.get(parts.scheme, 80)), _TIMEOUT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: a host that is no domain name
        return getattr(error, "strerror", None) or str(error)
    return ""
