"""The uvicorn server: disconnects slow and idle clients, and answers running requests before it stops."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from acclimate.base import signals
from acclimate.base.errors import SettingError
from acclimate.deploy.serving.limits import Limits

_HEAD_BYTES = 16 * 1024  # of a request line with its headers
_TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b'content-length: 56\r\n\r\n{"error": "too many connections are open; come again"}\r\n'
)


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not yet listening. Raises SettingError if that fails."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        what = getattr(error, "strerror", None) or error
        raise SettingError(f"cannot listen on {host}:{port}: {what}; choose another --host or --port") from None
    return listener


def run(app: Any, listener: socket.socket, limits: Limits) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, then answer running requests and return."""
    asyncio.run(server(app, limits).serve(sockets=[listener]))


def server(app: Any, limits: Limits) -> uvicorn.Server:
    """A server that runs until `should_exit` is set or, in the main thread, a signal arrives."""
    _raise_file_limit(limits.max_connections)
    config = uvicorn.Config(
        app,
        http=_protocol(limits),
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="error",  # clients' invalid requests are not worth a warning
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_keep_alive=max(1, round(limits.idle_seconds)),
        timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """Stops on signals without raising them again; the caller decides what follows."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heeded = (number for number in signals.TERMINATE if signal.getsignal(number) is not signal.SIG_IGN)
        numbers = (signal.SIGINT, *heeded)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    """HTTP/1.1 with timeouts for receiving a request's head and for sending the answer."""

    class Protocol(H11Protocol):
        head: asyncio.TimerHandle | None = None
        unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.max_connections:
                transport.write(_TURNED_AWAY)
                transport.close()
                return
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_came()
            self._is_read()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self.unread = self.loop.call_later(limits.request_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._is_read()
            super().resume_writing()

        def handle_events(self) -> None:
            cycle = self.cycle
            super().handle_events()
            if self.cycle is not cycle:
                self._head_came()

        def send_400_response(self, msg: str) -> None:
            super().send_400_response(msg)
            if self.cycle is not None:
                self.cycle.disconnected = True  # the app's answer would come after this one

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
                self._expect_head(limits.idle_seconds)

        def _expect_head(self, more: float = 0.0) -> None:
            self._head_came()
            self.head = self.loop.call_later(limits.read_seconds + more, self.transport.abort)

        def _head_came(self) -> None:
            if self.head is not None:
                self.head.cancel()
            self.head = None

        def _is_read(self) -> None:
            if self.unread is not None:
                self.unread.cancel()
            self.unread = None

    return Protocol


def _raise_file_limit(connections: int) -> None:
    """Raise the limit of open files to what connections may need, if the system permits it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 1024
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
            )
