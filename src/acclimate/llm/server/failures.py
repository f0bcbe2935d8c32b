"""Classify failures of requests: retry, give up the prompt, or stop; and clean the server's message for display.

Servers word the same failure differently and use different statuses, so both are examined: the first matching row of
one table decides.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

from acclimate.base.secrets import redacted
from acclimate.llm.server.waits import wait_in

# Environment variables of the client's proxies, also in lower case.
PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_LONGEST_MESSAGE = 300  # characters
_MESSAGE_KEYS = (
    "message msg detail error errors code type status param loc reason title error_description error_type metadata raw "
    "reasons body fault failed_generation field property parameter name invalid-params invalid_params"
).split()
_FIELD_KEYS = ("param", "loc", "field", "property", "parameter", "name")  # of these, the names of the request's fields


class Outcome(Enum):
    """What follows from a failure."""

    AGAIN = "again"  # retry, it may pass
    REFUSED = "content_filter"  # this prompt is refused for good; others may be answered
    TOO_LONG = "context"  # this prompt is too long
    STOP = "stop"  # permanent, for all prompts


class Failure(NamedTuple):
    """A server's message, and what follows."""

    means: Outcome
    message: str  # the server's words, on one line
    hint: str = ""  # what to try
    status: int | None = None
    fields: str = ""  # fields of the request that it complains about, if stated
    after: float | None = None  # delay requested by the server, in seconds

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    @property
    def is_of_server(self) -> bool:
        """True if it does not concern the request, so another server may answer it."""
        return self.status is None or (self.means is Outcome.AGAIN and self.status in (408, 425, 429, *range(500, 600)))


class _Rule(NamedTuple):
    means: Outcome
    statuses: tuple[int, ...] = ()  # any of them, or
    words: str = ""  # a pattern in the message; if both are given, both must match
    hint: str = ""


_TOO_LONG = r"""
    context[ _-]?(?:length|window|size|limit)
    | (?:prompt|input|request|messages?|string|text)\b.{0,60}\btoo[ ](?:long|large)
    | (?:prompt|input|text)\b.{0,80}\b(?:exceeds?|longer[ ]than)\b
      .{0,60}\b(?:maximum|limit|tokens|characters|bytes|allowed|length|n_ctx|max_seq_len)
    | maximum[ ](?:prompt|input|sequence|model)[ ](?:length|tokens) | too[ ]many[ ](?:input[ ])?tokens
    | inputs`?[ ](?:tokens[ ]\+|must[ ]have[ ]less[ ]than) | reduce[ ]the[ ]length[ ]of
    | exceeds?[ ]the[ ]available[ ]context | exceed(?:ed|s)?\b.{0,20}\btoken[ ]limit | total[ ]tokens[ ]exceed
    | tokens[ ]in[ ]request | (?:prompt|input)[ ](?:length|tokens)\b.{0,60}\b(?:less|greater)[ ]than
    | total[ ]text[ ]bytes | max_tokens`?'?[ ]must[ ]be[ ]at[ ]least[ ]1,[ ]got[ ]-
    | string_above_max_length | context[ ]the[ ]overflows | range[ ]of[ ]input[ ]length | max_prompt_length
    | (?:prompt|输入|文本).{0,12}(?:超长|超出|超过|过长)
"""
_REFUSED = r"""
    content[ _-]?(?:filter|policy|management|moderation|safety|exists[ ]risk) | data_inspection_failed
    | \bmoderat(?:ion|ed)\b | \bflagged\b | inappropriate | safety[ _](?:system|filter|settings|reasons?|check)
    | prohibited[ _]content
    | (?:sensitive|unsafe|harmful)[ ](?:content|words?|information|input)
    | (?:usage|responsible|acceptable[ ]use).{0,12}polic(?:y|ies)
    | potentially[ ]harmful | risk[ _-]control | high[ ]risk | prohibited[ ]use | guardrails? | 敏感 | 不安全 | 违规
"""
_ACCOUNT = r"\baccount\b|\borgani[sz]ation\b|api[ _-]?key|\bbilling\b|authenti|permission|unauthorized"
_NO_KEY = r"api[ ]key[ ]not[ ]valid|(?:invalid|incorrect|missing)[ ]api[ _-]?key"
_NO_CREDIT = r"""
    insufficient[ _-]?(?:quota|credits?|balance|funds) | (?:out[ ]of|not[ ]enough|no)[ ](?:credits?|balance|funds)\b
    | (?:credit[ ]balance|balance)[ ]is[ ]too[ ]low | billing[ _](?:hard[ _])?limit
    | spend(?:ing)?[ ]limit | regain[ ]access[ ]on | add[ ][\d,]+[ ]credits | payment[ ]required | 余额不足 | 欠费
"""
_NO_MODEL = r"""
    model\b.{0,120}\b(?:not[ ](?:found|exist|available|loaded|supported|served)|does[ ]not[ ]exist|doesn['’]t[ ]exist
    |unknown|no[ ]longer|deprecated|decommissioned) | model_not_found | no[ ]models?[ ]loaded | unknown[ ]model
    | (?:invalid|no[ ]such|failed[ ]to[ ]load)[ ]model | not[ ]a[ ]valid[ ]model | deploymentnotfound
    | model[ ]identifier[ ]is[ ]invalid | ^model:[ ]\S+;[ ]not_found_error
"""
_NO_ADDRESS = r"unexpected[ ]endpoint | invalid[ ]url | no[ ]route | unknown[ ]request[ ]url | cannot[ ](?:post|get)\b"
_BUSY = r"""
    (?:is|are|still|being|model)[ ]loading | loading[ ,;.].{0,30}\b(?:retry|wait|again) | overloaded
    | server[ ](?:is[ ])?busy | try[ ]again[ ](?:later|in|soon) | please[ ](?:retry|try[ ]again|wait)(?![ ]with)
"""
_MAY_PASS = r"""
    loading | overloaded | busy | rate[ _-]?limit | too[ ]many[ ]requests | time(?:d[ ]?|[ ]|-)?out | temporar
    | try[ ]again | retry | unavailable | capacity | internal[ _]?(?:server[ _]?)?error
    | upstream | provider[ ]returned[ ]error
"""

# Permanent connection failures.
_LOST = (
    (r"CERTIFICATE_VERIFY_FAILED", "SSL_CERT_FILE can name certificates to trust"),
    (
        r"WRONG_VERSION_NUMBER|UNEXPECTED_EOF|record layer",
        "does the server speak https? If not, http:// is its address",
    ),
    (r"illegal request line", "does the server speak http? If not, https:// is its address"),
    (r"Name or service not known|nodename nor servname|No address associated", "is the name of the host right?"),
    (r"UnsupportedProtocol|InvalidURL|LocalProtocolError|'idna' codec", "is the address right?"),
    (r"in content-encoding|DecodingError: no gzip", "switch off the compression of the server or of a proxy before it"),
    (
        r"illegal (?:header|status) line|(?:bad|conflicting) Content-Length|Only Transfer-Encoding"
        r"|Receive buffer too long|_SWITCH_UPGRADE",
        "its answers are no HTTP that can be read; is that the address of a server of LLMs, and is a proxy before it?",
    ),
)
_ADDRESS = "does the address end as the server's API does, such as in /v1?"
_MAX_TOKENS = r"\bmax_(?:completion_|output_|new_)?tokens\b | at[ ]most[ ][\d,]+[ ](?:completion|output)[ ]tokens"
_TABLE = (
    _Rule(Outcome.STOP, words=_NO_CREDIT, hint="the account has no credit or quota left"),
    _Rule(Outcome.STOP, statuses=(402,), hint="the account has no credit or quota left"),
    _Rule(Outcome.STOP, statuses=(300, 301, 302, 303, 307, 308), hint="the server is elsewhere; name that address"),
    _Rule(Outcome.TOO_LONG, words=r"request[ ]too[ ]large"),  # per-minute limits, which waiting does not help
    _Rule(Outcome.AGAIN, statuses=(408, 409, 424, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 529)),
    _Rule(Outcome.STOP, statuses=(401,), hint="is OPENAI_API_KEY right?"),
    _Rule(
        Outcome.STOP, statuses=(407,), hint="the proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) wants a name and a password"
    ),
    _Rule(Outcome.STOP, words=_NO_KEY, hint="is OPENAI_API_KEY right?"),
    _Rule(Outcome.TOO_LONG, words=_TOO_LONG),
    _Rule(Outcome.TOO_LONG, statuses=(413,)),
    _Rule(Outcome.STOP, statuses=(403,), words=_ACCOUNT, hint="is OPENAI_API_KEY right, and may it use this model?"),
    _Rule(Outcome.REFUSED, words=_REFUSED),
    _Rule(Outcome.REFUSED, statuses=(451,)),
    _Rule(Outcome.STOP, words=_NO_MODEL, hint="is the model's name right, and does the server have it?"),
    _Rule(Outcome.STOP, words=_NO_ADDRESS, hint=_ADDRESS),
    _Rule(Outcome.STOP, statuses=(403,), hint="is OPENAI_API_KEY right, and may it use this model?"),
    _Rule(Outcome.STOP, statuses=(404, 405, 410, 501, 505), hint=_ADDRESS),
    _Rule(Outcome.AGAIN, statuses=tuple(range(500, 600))),
    _Rule(Outcome.AGAIN, statuses=(400,), words=_BUSY),  # of a server without better statuses
    _Rule(Outcome.STOP, statuses=(400, 422), words=_MAX_TOKENS, hint="lower generate.max_new_tokens"),
    _Rule(Outcome.STOP, statuses=tuple(range(400, 500))),
    _Rule(Outcome.AGAIN, words=_MAY_PASS),
    _Rule(Outcome.STOP),
)


def failure(status: int | None, body: Any) -> Failure:
    """Classify an error. `status`: of HTTP; for 200, one stated in the body."""
    words = message_of(body)
    http_status = _status_in(body) if status is None or status < 300 else status
    row = next(row for row in _TABLE if _fits(row, http_status, words))
    fields = " ".join(f"'{part}'" for part in _messages(body, only=_FIELD_KEYS))
    message = f"status {http_status}: {words or _phrase(http_status)}" if http_status else words
    return Failure(row.means, message, row.hint, http_status, fields, wait_in(" ".join(_messages(body))))


def _phrase(status: int) -> str:
    """What a status means by RFC 9110, for an answer without words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no message"


def _fits(row: _Rule, status: int | None, words: str) -> bool:
    says = re.search(row.words, words, re.IGNORECASE | re.VERBOSE) is not None
    return says and (not row.statuses or status in row.statuses)


def _status_in(body: Any) -> int | None:
    """The HTTP status stated in an error's body, if any."""
    if isinstance(body, list):
        return next((status for part in body if (status := _status_in(part))), None)
    if not isinstance(body, Mapping):
        return None
    for key in ("code", "status", "status_code", "statusCode"):
        try:
            if 400 <= (status := int(body.get(key, 0))) < 600:
                return status
        except (ValueError, TypeError, OverflowError):
            continue
    return _status_in(body.get("error"))


def message_of(body: Any) -> str:
    """The messages, codes and field names in an error's body."""
    return one_line("; ".join(dict.fromkeys(_messages(body))) or (body if isinstance(body, str) else repr(body)))


def _messages(body: Any, key: str = "", only: tuple[str, ...] = ()) -> Iterator[str]:
    """The texts in an error's body, optionally only those under some keys."""
    if isinstance(body, Mapping):
        named = {str(name).lower(): value for name, value in body.items()}
        for name in _MESSAGE_KEYS:  # without the request, which some servers echo
            if name in named:
                yield from _messages(named[name], name, only)
        for name, value in named.items() if key == "errors" else ():  # by field, as ASP.NET writes them
            if name not in _MESSAGE_KEYS:
                yield from _messages({"field": name, "message": value}, only=only)
    elif isinstance(body, list) and key == "loc":  # where in the request
        yield ".".join(map(str, body))
    elif isinstance(body, list):
        for part in body[:5]:
            yield from _messages(part, key, only)
    elif only and key not in only:
        return
    elif isinstance(body, str) and body.strip():
        yield body
    elif isinstance(body, int) and key == "code":
        yield str(body)


def one_line(text: str) -> str:
    """Foreign text cleaned for a message: shortened, on one line, without control characters, the key and secrets."""
    line = "".join(char if unicodedata.category(char)[0] != "C" else " " for char in text[: 20 * _LONGEST_MESSAGE])
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if len(key) >= (8 if key.isalpha() else 4):  # else a word for a server that needs none: EMPTY, ollama
        line = line.replace(key, "***")
    line = redacted(" ".join(line.split()))
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 3]}..."


def cause(error: BaseException) -> str:
    """An error with its cause, as "Connection error." alone says nothing."""
    causes = [error]
    while (inner := _cause(causes[-1])) is not None and len(causes) < 8:
        causes.append(inner)
    texts = [f"{type(link).__name__}: {link}".rstrip(": ") for link in causes]
    return one_line(": ".join(dict.fromkeys([texts[0], texts[-1]])))


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def connection_failure(error: BaseException) -> Failure:
    """Classify a connection that failed or broke."""
    words = cause(error)
    hint = next((hint for pattern, hint in _LOST if re.search(pattern, words)), "")
    proxies = [name for known in PROXIES for name in (known, known.lower()) if os.environ.get(name)]
    through = f"a proxy is set in {proxies[0]}" if proxies else ""
    return Failure(Outcome.STOP if hint else Outcome.AGAIN, words, "; ".join(filter(None, (hint, through))))


def page_title(text: str) -> str | None:
    """The title, else the first words, of an HTML page; None for anything else."""
    if not re.match(r"\s*(?:<!doctype html|<html|<head|<body|<h1|<\?xml)", text, re.IGNORECASE):
        return None
    title = re.search(r"<(title|h1)[^>]*>(.*?)</\1", text, re.IGNORECASE | re.DOTALL)
    return one_line(title[2] if title else re.sub(r"<[^>]*>", " ", text))


def failed_response(response: Any, body: Any) -> Failure:
    """The failure in an error response, a malformed answer, or an HTML page."""
    if location := response.headers.get("location"):
        return failure(response.status_code, f"the server redirects to {location}")
    title = page_title(response.text)
    if title is None:
        return failure(response.status_code, body)
    meaning = failure(response.status_code, title)
    what = f"status {response.status_code}, a page for people and not an API's answer: {title!r} (HTML)"
    if response.status_code >= 300:
        return meaning._replace(message=what)
    return meaning._replace(means=Outcome.STOP, message=what, hint="is that the address of an API, such as .../v1?")
