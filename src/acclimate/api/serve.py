"""Serving a run over HTTP: in a process of its own, or as an application of somebody else's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, Unpack

from acclimate.base.domains import Between
from acclimate.base.errors import MissingExtra
from acclimate.deploy.serving.limits import Limits
from acclimate.run.settings import whole_number

PORT = 8765
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class AppOptions(TypedDict, total=False):
    """What `application` takes beside the folder."""

    system: str | None
    api_key: str | None
    allowed_hosts: Sequence[str]
    reload_seconds: float
    limits: Limits | None


class ServeOptions(AppOptions, total=False):
    """What `serve` takes beside the folder."""

    host: str
    port: int


def application(
    folder: str | PathLike[str],
    *,
    system: str | None = None,
    api_key: str | None = None,
    allowed_hosts: Sequence[str] = (),
    reload_seconds: float = 2.0,
    limits: Limits | None = None,
) -> Any:
    """An ASGI application that serves a run; loaded and warm when this returns.

    system: answers where a request names none; by default what the run recommends, now and after each `adapt`.
    api_key: that requests must have. allowed_hosts: that requests may name; none: any. reload_seconds: between looks
    for a newer run; 0: none. Raises MissingExtra without FastAPI, DataError without a finished run, SettingError for a
    system that the run does not have.
    """
    try:
        from acclimate.deploy.serving.app import create_app
        from acclimate.deploy.serving.service import Service
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    service = Service(Path(folder), system, limits or Limits())
    return create_app(service, api_key=api_key, hosts=allowed_hosts, reload_seconds=reload_seconds)


def serve(
    folder: str | PathLike[str], *, host: str = "127.0.0.1", port: int = PORT, **options: Unpack[AppOptions]
) -> None:
    """Serve a run until SIGINT or SIGTERM; requests at work are answered before this returns.

    port: 0 takes any that is free. options: see `application`; allowed_hosts are names besides those of this machine
    that a browser may reach it by while `host` is a loopback address; elsewhere, where any are given, they are the only
    ones. Raises as `application` does, and SettingError for an address that cannot be listened on.
    """
    try:
        from acclimate.deploy.serving import server
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    limits = options.get("limits") or Limits()
    listener = server.bound(host, whole_number(port, "port", Between(0, 65_535)))
    with listener:
        is_local = _is_local(listener.getsockname()[0])
        if is_local:
            options["allowed_hosts"] = (*_LOCAL_NAMES, host, *options.get("allowed_hosts", ()))
        app = application(folder, **options)
        log = logging.getLogger("acclimate")
        if not is_local:
            key = (
                ""
                if options.get("api_key")
                else ", and without a key anyone can read the documents and leave feedback (--api-key)"
            )
            log.warning("serve: %s is reachable from other machines%s", host, key)
        shown = f"[{host}]" if ":" in host else host
        log.info("serve: running on http://%s:%d; press Ctrl-C to stop", shown, listener.getsockname()[1])
        server.run(app, listener, limits)
        log.info("serve: stopped")


def _is_local(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_loopback


def _missing(error: ModuleNotFoundError) -> Exception:
    """What to say where a package is missing; another one's absence is an error of ours."""
    if (error.name or "").partition(".")[0] in ("fastapi", "uvicorn", "starlette", "pydantic", "h11", "annotated_doc"):
        return MissingExtra("acclimate serve", "pip install 'acclimate[serve]'")
    return error
