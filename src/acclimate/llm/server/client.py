"""The HTTP client: configured from the environment (key, proxies, certificates), with errors in it explained.

Answers are read as JSON whatever their content type, including event streams, which some servers send unasked.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from acclimate.base.errors import MissingExtra, SettingError
from acclimate.base.secrets import redacted
from acclimate.llm.server import bounds
from acclimate.llm.server.address import Address
from acclimate.llm.server.failures import PROXIES, cause, one_line
from acclimate.llm.server.wire import text_of

_STREAM = re.compile(r"\s*(?:data|event|id|retry|):")
_LINE_END = r"(?:\r\n?|\n)"  # not splitlines: JSON may have other line separators within a text


def sent_from(variable: str, *, between: str = "") -> str:
    """The value of an environment variable that is sent with each request, stripped; "" if there is none.

    between: what separates several values in it. Raises SettingError for one that cannot be sent.
    """
    value = os.environ.get(variable, "").strip()
    for position, char in enumerate(value, 1):
        if not " " <= char <= "~" and char != between:
            raise SettingError(
                f"{variable}: character {position} is U+{ord(char):04X}, which cannot be sent; copy the value anew"
            )
    return value


def client(name: str, address: Address, seconds: float) -> Any:
    """An `openai.OpenAI` without retries and with a total timeout of `seconds`.

    Raises MissingExtra without the package, SettingError for an environment in which it cannot be created.
    """
    try:
        import openai
    except ImportError:
        raise MissingExtra(name, "pip install 'acclimate[openai]'") from None
    httpx = importlib.import_module(openai.DefaultHttpxClient.__base__.__module__)  # httpx, or its successor
    secret = sent_from("OPENAI_API_KEY")
    if not secret and address.url.startswith("https://api.openai.com"):
        raise SettingError(f"{name} needs a key in OPENAI_API_KEY, or an address: {name}@http://host:port/v1")
    sent_from("OPENAI_CUSTOM_HEADERS", between="\n")  # by the library
    headers = {"api-key": secret} if secret and address.query else {}  # as Azure's servers expect
    try:
        httpx.URL(address.url)
    except httpx.InvalidURL as error:
        raise SettingError(f"{name} at {address.url}: no address: {error}") from None
    try:
        return openai.OpenAI(
            api_key=secret or "none",
            organization=sent_from("OPENAI_ORG_ID") or None,
            project=sent_from("OPENAI_PROJECT_ID") or None,
            base_url=address.url,
            default_query=address.query,
            default_headers=headers,
            max_retries=0,
            timeout=seconds,
            # Credentials for one address go to no other.
            http_client=openai.DefaultHttpxClient(
                follow_redirects=False,
                headers={"accept-encoding": bounds.ENCODING},
                event_hooks=bounds.event_hooks(httpx, seconds),
            ),
        )
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:  # invalid proxies and certificates
        raise _surroundings(error) from None


def _surroundings(error: Exception) -> Exception:
    """An error that names the invalid environment variable."""
    proxies = {
        name: value for scheme in PROXIES for name in (scheme, scheme.lower()) if (value := os.environ.get(name, ""))
    }
    if isinstance(error, ImportError):
        named = next((f"{name}={redacted(value)}" for name, value in proxies.items() if "socks" in value), "a proxy")
        return MissingExtra(f"{named}, a SOCKS proxy,", "pip install socksio")
    if isinstance(error, OSError):
        variables = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE") if name in os.environ]
        variables.sort(key=lambda name: os.environ[name] != error.filename)  # the one of that file first
        named = next(iter(variables), "the certificates")
        return SettingError(f"{named} is {os.environ.get(named)!r}, which cannot be read: {error.strerror or error}")
    invalid = (f"{name} is {redacted(value)}" for name, value in proxies.items() if not _is_proxy(value))
    named = next(invalid, "")
    reason = named or f"the client cannot be made: {cause(error)}"
    return SettingError(f"{reason}; expected http://, https:// or socks5:// (unset it, or list the host in NO_PROXY)")


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https", "socks5", "socks5h") and parts.port != 0
    except ValueError:
        return False


def read(text: str) -> Any:
    """The JSON in an answer's body. Raises ValueError with an excerpt if there is none."""
    text = text.removeprefix("\ufeff")
    try:
        return _merged(text) if _STREAM.match(text) else json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"no JSON: {one_line(text[:80])!r}" if text.strip() else "an empty answer") from None


def _events(text: str) -> Iterator[Any]:
    """The data of a stream's events, as JSON; None for its end."""
    for block in re.split(rf"{_LINE_END}(?:{_LINE_END})+", text):
        lines = [line[5:].strip() for line in re.split(_LINE_END, block) if line.startswith("data:")]
        try:
            yield from [json.loads("\n".join(lines))] if lines else []  # an event may take several lines
        except ValueError:
            yield from (None if line == "[DONE]" else json.loads(line) for line in lines)


def _merged(text: str) -> dict[str, Any]:
    """The complete answer from a stream of events: its first choice."""
    events = list(_events(text))
    rows = [row for row in events if isinstance(row, Mapping)]
    failed = next((row for row in rows if row.get("error")), None)
    if failed is not None or not rows:
        return dict(failed or {})
    texts: dict[str, str] = {}
    choice: dict[str, Any] = {}
    logprobs: dict[str, list[Any]] = {}
    choice_lists = [row["choices"] for row in rows if isinstance(row.get("choices"), list)]
    parts = [part for choices in choice_lists for part in choices if isinstance(part, Mapping)]
    for part in (part for part in parts if (part.get("index") or 0) == (parts[0].get("index") or 0)):
        delta = part.get("delta") or part.get("message") or {"text": part.get("text")}
        for name, value in delta.items() if isinstance(delta, Mapping) else ():
            if isinstance(value, str | list):
                texts[name] = texts.get(name, "") + text_of(value)
        of_part = part.get("logprobs")
        for name, values in of_part.items() if isinstance(of_part, Mapping) else ():
            if isinstance(values, list):
                logprobs.setdefault(name, []).extend(values)
        choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
    if None not in events:  # a stream without its end was cut off
        choice["finish_reason"] = choice.get("finish_reason") or "error"
    alone = texts.pop("text", None)  # what completions have instead of a message, and some chats beside it
    choice |= {"message": texts if texts or alone is None else None, "text": alone, "logprobs": logprobs}
    return {"choices": [choice], "usage": next((row["usage"] for row in reversed(rows) if row.get("usage")), None)}
