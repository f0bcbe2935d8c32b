"""Scripts that search an export, copied into it; the export is checked with the same code."""

import json
import os
import sys
import urllib.error
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any

from acclimate.base.text import shortened, single_spaced
from acclimate.report.formatting import excerpt


def arguments(usage: str | None, minimum: int, maximum: int) -> list[str]:
    """The script's arguments. Raises SystemExit with the usage unless there are `minimum` to `maximum` of them."""
    words = sys.argv[1:]
    if not minimum <= len(words) <= maximum:
        raise SystemExit(usage)
    return words


class Refused(SystemExit):
    """A request that an engine refused, with its status."""

    def __init__(self, what: str, status: int, reason: str) -> None:
        super().__init__(f"{what}: {status} {reason}")
        self.status = status


@contextmanager
def asking(url: str, what: str) -> Iterator[None]:
    """Turn errors of a request into Refused with the engine's message, or SystemExit with the reason for no answer.

    what: the request, for messages. The address is shown without a name and a password.
    """
    try:
        yield
    except urllib.error.HTTPError as error:
        reason = _reason(error)
        if error.code == 401 or ("security_exception" in reason and "license" not in reason):
            reason += "; a name and a password go into the address: https://NAME:PASSWORD@HOST:PORT"
        raise Refused(what, error.code, reason) from None
    except (OSError, ValueError, HTTPException) as error:
        address, reason = url.rpartition("@")[2], getattr(error, "reason", error)
        raise SystemExit(f"{address}: {reason}; expected the address of the engine: http://HOST:PORT") from None


def _reason(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError):
        text = cause_of(json.loads(text)["error"])
    return shortened(single_spaced(text) or error.reason, 500)


def cause_of(error: Any) -> str:
    """The cause in an error of OpenSearch and Elasticsearch, which nest them."""
    if isinstance(error, str):
        return error
    for cause in (*error.get("root_cause", ())[:1], error.get("caused_by")):
        if cause:
            return cause_of(cause)
    return single_spaced(f"{error['type']}: {error['reason']}")


def show(hits: Iterable[tuple[str, float, str, str]]) -> None:
    """Print (id, score, title, text) of documents, without control characters, until nobody reads any more."""
    try:
        for document, score, title, text in hits:
            print(f"{score:8.4f}  {single_spaced(document)}  {single_spaced(title)}\n          {excerpt(text, 200)}")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is written at the end
