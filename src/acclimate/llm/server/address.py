"""Names of LLMs behind servers: a model, with the server's address in the name or in OPENAI_BASE_URL.

Several addresses, separated by commas, are equivalent servers that share the requests (`fleet`). Addresses must not
hold secrets: they are written to manifests and reports.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from acclimate.base.errors import SettingError
from acclimate.base.secrets import VERSION, has_secret, redacted

_NAME = re.compile(r"openai(?P<completions>-completions)?:(?P<model>(?:(?!://)\S)+?)(?:@(?P<url>https?://\S+))?")
_NEXT = re.compile(r",(?=https?://)")  # between the addresses of equivalent servers
_ITS_OWN = "https://api.openai.com/v1"
# What can only be an address without its scheme after an @: a port, a path below a host, this machine, or one slash.
_NO_SCHEME = re.compile(
    r"(?:localhost|\d+(?:\.\d+){3}|\[[\da-f:]+\])(?:[:/]\S*)?|[\w-]+(?:\.[\w-]+)*:\d{2,5}(?:/\S*)?"
    r"|(?:[\w-]+\.)+[a-z]{2,}/\S*|https?:[/\\]\S*",
    re.IGNORECASE,
)


class Address(NamedTuple):
    """A parsed name."""

    model: str
    chats: bool
    url: str  # without trailing slash
    query: dict[str, str]  # added to each request
    more_urls: tuple[str, ...] = ()  # of equivalent servers


def parse(name: str) -> Address:
    """Parse a name. Raises SettingError for an invalid name or address, and for one with a secret."""
    match = _NAME.fullmatch(name)
    if match is None or match["model"].endswith("@"):  # an address was meant, so OpenAI's own is none
        raise SettingError(
            f"{redacted(name)!r}: expected openai:MODEL or openai:MODEL@http://host:port/v1, with openai-completions: "
            "instead of openai: for a model without chat training"
        )
    model, ending = match["model"], match["model"].rpartition("@")[2]
    if match["url"] is None and ending != model and _NO_SCHEME.fullmatch(ending):
        place = re.sub(r"https?:[/\\]+", "", redacted(ending), flags=re.IGNORECASE)
        raise SettingError(
            f"{redacted(name)!r}: an address without http:// or https:// before it; expected @http://{place}"
        )
    url, source = match["url"], redacted(name)
    if url is None:
        url, source = os.environ.get("OPENAI_BASE_URL", "").strip() or _ITS_OWN, "OPENAI_BASE_URL"
    (first, query), *more = [_checked(part, model, source) for part in _NEXT.split(url)]
    urls = tuple(dict.fromkeys(url for url, _ in more if url != first))
    if any(each != query for _, each in more):
        raise SettingError(f"{source}: addresses with different ?{VERSION}; servers that answer alike have the same")
    return Address(model, match["completions"] is None, first, query, urls)


def _checked(url: str, model: str, source: str) -> tuple[str, dict[str, str]]:
    """(address without trailing slash, query parameters for each request). Raises SettingError."""
    if not re.match(r"https?://", url):
        address = url.rpartition("@")[2]
        whole = f"http://{address.rpartition('://')[2]}"
        raise SettingError(f"{source} is {address!r}, which has no http:// or https:// before it; expected {whole}")
    if has_secret(url):
        raise SettingError(f"openai:{model}: an address with a secret in it; put the key into OPENAI_API_KEY")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise SettingError(f"{source}: no address: {error}") from None
    if parts.path.endswith(","):
        raise SettingError(f"{source}: an address that ends in a comma; expected another one behind it, or no comma")
    if not parts.hostname:
        raise SettingError(f"{source}: an address without a host; expected http://host:port/v1")
    return url.partition("?")[0].rstrip("/"), dict(parse_qsl(parts.query, keep_blank_values=True))


def check_no_secrets(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises SettingError for an LLM's address with a secret in any setting, as settings are written to files."""
    for stage, values in settings.items():
        for key, value in values.items():
            texts: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(text, str) and has_secret(text) for text in texts):
                raise SettingError(
                    f"{stage}.{key}: an address with a secret in it; put the key into OPENAI_API_KEY, and name the "
                    "address without it"
                )
