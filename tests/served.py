"""Serving a run on a free port of this machine, as `acclimate serve` does."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from acclimate.deploy.serving import server
from acclimate.deploy.serving.app import create_app
from acclimate.deploy.serving.limits import Limits
from acclimate.deploy.serving.service import Service


class Served:
    """A running service: its address, and how to stop it."""

    def __init__(self, service: Service, uvicorn, thread: threading.Thread, port: int) -> None:
        self.service, self.uvicorn, self.thread, self.port = service, uvicorn, thread, port
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


@contextmanager
def served(folder: Path, limits: Limits | None = None, **options):
    limits = limits or Limits()
    service = Service(folder, None, limits)
    listener = server.bound("127.0.0.1", 0)
    uvicorn = server.server(create_app(service, reload_seconds=0, **options), limits)
    thread = threading.Thread(target=lambda: asyncio.run(uvicorn.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not uvicorn.started:
        time.sleep(0.01)
    running = Served(service, uvicorn, thread, listener.getsockname()[1])
    try:
        yield running
    finally:
        running.stop()
        listener.close()
