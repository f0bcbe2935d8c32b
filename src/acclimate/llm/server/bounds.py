"""What ends a response that drips on and on, or pours: the client's patience begins anew with every byte, of headers as
of the body, and what it unpacks it does not count.

Works on what httpx lets others see of a request: hooks, and the trace of its connections.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

MOST_BYTES = 100_000_000  # of an answer, unpacked
ENCODING = "gzip"  # that answers may come in, and no other
_GZIP = 16 + zlib.MAX_WBITS


def event_hooks(httpx: ModuleType, seconds: float) -> dict[str, list[Callable[[Any], None]]]:
    """What a client of this module, httpx or what came after it, is to do with requests and responses, so that each
    takes so many seconds at most in all."""
    clock = threading.local()  # with the end of each thread's request

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
            check_time()  # where it is up, that is what is said
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
        encoding = response.headers.pop("content-encoding", "identity").strip().lower()
        if encoding not in (ENCODING, "identity", ""):
            raise httpx.DecodingError(f"an answer in content-encoding {encoding[:40]!r}; asked for {ENCODING} or none")
        unpack = zlib.decompressobj(_GZIP).decompress if encoding == ENCODING else lambda packed, room: packed
        response.stream = Bounded(response.stream, unpack)

    return {"request": [asked], "response": [answered]}
