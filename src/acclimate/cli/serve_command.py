"""Commands to serve a run, and to export users' feedback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acclimate
from acclimate.api.serve import PORT
from acclimate.cli.options import Folder, Name, Port, Positive, Seconds, Text
from acclimate.deploy.serving.limits import Limits

LIMITS = Limits()
Host = Annotated[str, Parameter(metavar="ADDRESS")]
Hosts = Annotated[list[str] | None, Parameter(metavar="NAME")]


def serve(
    run_dir: Path,
    *,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    system: Name = None,
    api_key: Text = None,
    allow_host: Hosts = None,
    reload_seconds: Seconds = 2.0,
    max_query_chars: Positive = LIMITS.max_query_chars,
    max_k: Positive = LIMITS.max_k,
    max_body_bytes: Positive = LIMITS.max_body_bytes,
    max_requests: Positive = LIMITS.max_requests,
    max_connections: Positive = LIMITS.max_connections,
    request_seconds: Seconds = LIMITS.request_seconds,
) -> None:
    """Serve a finished run over HTTP, with a page to try it: search, compare, grade. Needs acclimate[serve].

    When the run is rebuilt or updated, the service switches to the new one without losing a request. SIGTERM and Ctrl-C
    stop it after pending requests are answered.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    host
        Address to listen on; 0.0.0.0 listens on all interfaces and exposes the service to the network.
    port
        Port to listen on; 0 selects a free one.
    system
        Default system for requests that name none; by default the recommended one.
    api_key
        Key that requests must send, as "Authorization: Bearer KEY". The environment variable ACCLIMATE_API_KEY does the
        same and is not visible to other users of the machine.
    allow_host
        Additional host name by which browsers reach the service; repeatable.
    reload_seconds
        Seconds between checks for a newer run in the folder; 0 disables them.
    max_query_chars
        Maximum characters of a query.
    max_k
        Maximum documents in an answer.
    max_body_bytes
        Maximum bytes of a request.
    max_requests
        Maximum running and waiting requests; others are told to retry.
    max_connections
        Maximum open connections.
    request_seconds
        Maximum seconds for an answer.
    """
    arguments = locals()
    acclimate.open(run_dir).serve(
        host=host,
        port=port,
        system=system,
        api_key=os.environ.get("ACCLIMATE_API_KEY") if api_key is None else api_key,
        allowed_hosts=tuple(allow_host or ()),
        reload_seconds=reload_seconds,
        limits=Limits(**{name: arguments[name] for name in arguments.keys() & Limits.__dataclass_fields__}),
    )


def feedback(run_dir: Path, *, out: Folder) -> None:
    """Export the grades given on the serving page as queries and judgments.

    To measure a run on them: acclimate adapt CORPUS --out run --queries OUT/queries.jsonl --qrels OUT/qrels/test.tsv

    Parameters
    ----------
    run_dir
        Folder of a served run.
    out
        Output folder for queries.jsonl, qrels/test.tsv, preferences.jsonl and clicks.jsonl.
    """
    print(acclimate.open(run_dir).feedback(out))
    print(f"Judgments: {out / 'qrels' / 'test.tsv'}")
