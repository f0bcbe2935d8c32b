"""Serve a run over HTTP: in a process of its own, or as an ASGI application."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, TypedDict, Unpack

from acclimate.base.arguments import StrPath, run_folder
from acclimate.base.domains import Between
from acclimate.base.errors import MissingExtra, SettingError
from acclimate.base.text import quoted
from acclimate.deploy.serving.limits import Limits
from acclimate.run.settings import Setting, check, whole_number

PORT = 8765
_RELOAD_SECONDS = Setting("reload_seconds", float, 2.0, "", Between(0, 86_400))
_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # as a browser sends it
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class AppOptions(TypedDict, total=False):
    """Options of `application`, beside the folder."""

    system: str | None
    api_key: str | None
    allowed_hosts: Sequence[str]
    reload_seconds: float
    limits: Limits | None


class ServeOptions(AppOptions, total=False):
    """Options of `serve`, beside the folder."""

    host: str
    port: int


def application(
    folder: StrPath,
    *,
    system: str | None = None,
    api_key: str | None = None,
    allowed_hosts: Sequence[str] = (),
    reload_seconds: float = 2.0,
    limits: Limits | None = None,
) -> Any:
    """An ASGI application that serves a run; loaded and warm when this returns.

    system: answers requests that name none; by default the run's recommendation, also after later calls of `adapt`.
    api_key: required of requests. allowed_hosts: accepted Host headers, without ports; none: any. reload_seconds:
    interval of checks for a newer run; 0: never. Raises MissingExtra without FastAPI, DataError without a finished run,
    SettingError for an unknown system, and for a key or a host that no request could send.
    """
    try:
        from acclimate.deploy.serving.app import create_app
        from acclimate.deploy.serving.service import Service
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    if not isinstance(limits, Limits | None):
        raise SettingError(f"limits is {quoted(limits)}; expected acclimate.Limits(...)")
    key, hosts = _key(api_key), _hosts(allowed_hosts)
    reload_seconds = check(reload_seconds, _RELOAD_SECONDS, "reload_seconds")
    service = Service(run_folder(folder), system, limits or Limits())
    return create_app(service, api_key=key, hosts=hosts, reload_seconds=reload_seconds)


def serve(folder: StrPath, *, host: str = "127.0.0.1", port: int = PORT, **options: Unpack[AppOptions]) -> None:
    """Serve a run until SIGINT or SIGTERM; requests in progress are answered before this returns.

    port: 0 takes any free one. options: see `application`; if `host` is a loopback address, allowed_hosts are accepted
    beside the names of this machine; otherwise they are the only ones, if given. Raises as `application` does, and
    SettingError for an address that cannot be listened on.
    """
    try:
        from acclimate.deploy.serving import server
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    limits = options.get("limits") or Limits()
    listener = server.bound(host, whole_number(port, "port", Between(0, 65_535)))
    with listener:
        is_local = _is_local(listener.getsockname()[0])
        hosts = _hosts(options.get("allowed_hosts", ()))
        options["allowed_hosts"] = (*_LOCAL_NAMES, host, *hosts) if is_local else hosts
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


def _key(given: str | None) -> str | None:
    """The key without blanks around it, such as the line end of the file that it comes from."""
    key = None if given is None else given.strip()
    if key == "":
        raise SettingError("the key (--api-key, or ACCLIMATE_API_KEY) is empty; expected one, or none at all")
    if key and not key.isprintable():
        raise SettingError("the key (--api-key, or ACCLIMATE_API_KEY) has a line end in it; expected a single line")
    return key


def _hosts(given: Sequence[str]) -> Sequence[str]:
    """Host names; a text alone is one of them."""
    hosts = [given] if isinstance(given, str) else list(given)
    for host in hosts:
        if not _HOST_NAME.fullmatch(host) and not _is_address(host):
            raise SettingError(
                f"allowed host is {quoted(host)}; expected a name without scheme and port: search.example.org"
            )
    return hosts


def _is_local(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_loopback


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def _missing(error: ModuleNotFoundError) -> Exception:
    """The error for a missing package; a missing package of our own is a bug."""
    if (error.name or "").partition(".")[0] in ("fastapi", "uvicorn", "starlette", "pydantic", "h11", "annotated_doc"):
        return MissingExtra("acclimate serve", "pip install 'acclimate[serve]'")
    return error
