"""The guard before a service: access, concurrency, and limits on sizes and times.

Plain ASGI. A request is read whole, within its limits, before the service sees it, so misbehaving clients (slow, too
large, gone) are handled here. Every response gets headers that let browsers do no more than show it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from acclimate.base.text import counted
from acclimate.deploy.serving.limits import Limits
from acclimate.deploy.serving.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DISCARDED = 32 << 20  # bytes read of a body that is too large, so that the client receives the refusal
OUR_ERROR = "internal error; see the log of the service"
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Refused(Exception):
    """A request answered with a one-line error."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


def again(status: int, message: str) -> Refused:
    """A refusal that asks the client to retry after a second."""
    return Refused(status, message, {"retry-after": "1"})


class Guard:
    """`app` behind the limits. open_paths: need no key and are answered under any load."""

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        metrics: Metrics,
        paths: Iterable[str],
        open_paths: Iterable[str],
        api_key: str | None,
        hosts: Iterable[str],
    ) -> None:
        """paths: counted by name in metrics. hosts: allowed Host headers; empty: any."""
        self._app, self._limits, self._metrics = app, limits, metrics
        self._paths, self._open_paths = frozenset(paths), frozenset(open_paths)
        self._key = api_key.encode() if api_key else None
        self._hosts = frozenset(host.casefold() for host in hosts)
        self.n_running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        path = scope["path"].removeprefix(scope.get("root_path", ""))  # where it is mounted in another application
        answer = _Answer(send)
        try:
            await self._admitted(scope, path, receive, answer)
        except Refused as refusal:
            await answer.refuse(refusal)
        except Exception:
            logging.getLogger("acclimate").exception("a request to %s failed", path if path in self._paths else "?")
            await answer.refuse(Refused(500, OUR_ERROR))
        finally:
            name = path if path in self._paths else "other"
            self._metrics.request(name, answer.status or 499, time.perf_counter() - began)  # 499: the client left

    async def _admitted(self, scope: Scope, path: str, receive: Receive, answer: _Answer) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").casefold()
        if (
            self._hosts
            and (host[1:].partition("]")[0] if host[:1] == "[" else host.partition(":")[0]) not in self._hosts
        ):
            raise Refused(421, "host not allowed; allow it with --allow-host")
        is_open = path in self._open_paths
        if not (is_open or self._key is None or self._has_key(headers)):
            raise Refused(401, "no valid key; send it as Authorization: Bearer KEY", {"www-authenticate": "Bearer"})
        body = await self._body(headers, receive)  # a slow body does not occupy a slot yet
        if is_open:
            await self._answered(scope, body, receive, answer)
            return
        if self.n_running >= self._limits.max_requests:
            raise again(429, f"{counted(self.n_running, 'request is', 'requests are')} running; retry in a second")
        self.n_running += 1
        try:
            await self._answered(scope, body, receive, answer)
        finally:
            self.n_running -= 1

    def _has_key(self, headers: Mapping[bytes, bytes]) -> bool:
        assert self._key is not None
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        key = bearer.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        return hmac.compare_digest(key, self._key)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The whole body. Raises Refused for one that is too large or does not come."""
        largest, body, size = self._limits.max_body_bytes, bytearray(), 0
        announced = headers.get(b"content-length", b"0")
        too_large = announced.isdigit() and int(announced) > largest
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the connection was closed before the request was complete")
                    size += len(message.get("body", b""))
                    too_large = too_large or size > largest
                    if not too_large:
                        body += message.get("body", b"")
                    if not message.get("more_body", False) or size > _DISCARDED:
                        break
        except TimeoutError:
            if not too_large:
                message = f"the body did not arrive within {self._limits.read_seconds:g} seconds"
                raise Refused(408, message, {"connection": "close"}) from None
        if too_large:
            raise Refused(413, f"the body has more than {largest:,} bytes", {"connection": "close"})
        return bytes(body)

    async def _answered(self, scope: Scope, body: bytes, receive: Receive, answer: _Answer) -> None:
        is_read = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal is_read
            if is_read:
                return await receive()  # the disconnect message
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            async with asyncio.timeout(self._limits.request_seconds):
                await self._app(scope, replay, answer)
        except TimeoutError:
            raise again(504, f"no answer within {self._limits.request_seconds:g} seconds") from None


class _Answer:
    """`send` with our headers; remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name for name, _ in message["headers"]}
            headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message["headers"] = [*message["headers"], *(pair for pair in headers if pair[0] not in present)]
        await self._send(message)

    async def refuse(self, refusal: Refused) -> None:
        """Say why there is no answer; where one has begun, the server finds it unfinished and cuts the connection."""
        if self.status:
            return
        body = json.dumps({"error": refusal.message}, ensure_ascii=False).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": refusal.status, "headers": pairs})
        await self({"type": "http.response.body", "body": body})
