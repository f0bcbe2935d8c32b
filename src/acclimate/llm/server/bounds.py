"""Limit the total time and size of a response: httpx's timeout restarts with each byte, and it does not limit sizes.

Uses httpx's event hooks and the trace of its connections.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

MOST_BYTES = 100_000_000  # of an unpacked answer
ENCODING = "gzip"  # the only encoding that is asked for
_READ = {ENCODING, "x-gzip", "deflate"}  # what some servers send whatever is asked for
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def event_hooks(httpx: ModuleType, seconds: float) -> dict[str, list[Callable[[Any], None]]]:
    """Event hooks for clients of this module (httpx or its successor) that limit a request to `seconds`."""
    clock = threading.local()  # deadline of each thread's request

    def check_time() -> float:
        if (left := clock.end - time.monotonic()) <= 0:
            raise httpx.ReadTimeout(f"not read in {seconds:g} seconds")
        return left

    def in_time(read: Callable[..., bytes]) -> Callable[..., bytes]:
        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            left = check_time()
            try:
                return read(max_bytes, timeout=left if timeout is None else min(timeout, left))
            except Exception as error:
                failed = error
            check_time()  # a passed deadline takes precedence
            raise failed

        return read_in_time

    def connected(event: str, info: dict[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info["return_value"]  # of this and later requests
            stream.read = in_time(stream.read)

    def asked(request: Any) -> None:
        clock.end = time.monotonic() + seconds
        request.extensions["trace"] = connected

    def parts(stream: Any, unpack: Callable[[bytes, int], bytes]) -> Iterator[bytes]:
        room = room_packed = MOST_BYTES
        for packed in stream:
            check_time()
            room_packed -= len(packed)
            try:
                part = unpack(packed, room + 1)
            except zlib.error as error:
                raise httpx.DecodingError(f"no {ENCODING}: {error}") from None
            room -= len(part)
            if min(room, room_packed) < 0:
                raise httpx.ReadError(f"an answer of more than {MOST_BYTES:,} bytes")
            yield part

    class Bounded(httpx.SyncByteStream):
        def __init__(self, stream: Any, unpack: Callable[[bytes, int], bytes]) -> None:
            self._stream, self._unpack = stream, unpack

        def __iter__(self) -> Iterator[bytes]:
            return parts(self._stream, self._unpack)

        def close(self) -> None:
            self._stream.close()

    def answered(response: Any) -> None:
        header = response.headers.pop("content-encoding", "").lower()
        encodings = [name for name in header.replace(",", " ").split() if name != "identity"]
        if len(encodings) > 1 or not set(encodings) <= _READ:
            raise httpx.DecodingError(f"an answer in content-encoding {header[:40]!r}; asked for {ENCODING} or none")
        unpack = zlib.decompressobj(_GZIP_OR_ZLIB).decompress if encodings else lambda packed, room: packed
        response.stream = Bounded(response.stream, unpack)

    return {"request": [asked], "response": [answered]}
