"""Scripts that search an export, copied into it; the export is checked with the same code."""

import sys
import urllib.error
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException

from acclimate.base.text import single_spaced
from acclimate.report.formatting import excerpt


def arguments(usage: str | None, minimum: int, maximum: int) -> list[str]:
    """The script's arguments. Raises SystemExit with the usage unless there are `minimum` to `maximum` of them."""
    words = sys.argv[1:]
    if not minimum <= len(words) <= maximum:
        raise SystemExit(usage)
    return words


@contextmanager
def asking(url: str, what: str) -> Iterator[None]:
    """Turn errors of a request into SystemExit with the engine's message, or the reason for no answer.

    what: the request, for messages. The address is shown without a name and a password.
    """
    try:
        yield
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{what}: {error.code} {error.read().decode(errors='replace')[:500]}") from None
    except (OSError, ValueError, HTTPException) as error:
        address, reason = url.rpartition("@")[2], getattr(error, "reason", error)
        raise SystemExit(f"{address}: {reason}; expected the address of the engine: http://HOST:PORT") from None


def show(hits: Iterable[tuple[str, float, str, str]]) -> None:
    """Print (id, score, title, text) of documents, without control characters."""
    for document, score, title, text in hits:
        print(f"{score:8.4f}  {single_spaced(document)}  {single_spaced(title)}\n          {excerpt(text, 200)}")
