"""HTTP routes of the service, each a few lines over `service`, and the built-in page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from acclimate.base.errors import AcclimateError, SettingError, unknown
from acclimate.base.text import on_one_line, shortened
from acclimate.base.version import __version__
from acclimate.deploy.filters import canonical, from_texts
from acclimate.deploy.serving import metrics, schemas
from acclimate.deploy.serving.guard import OUR_ERROR, Guard, Refused
from acclimate.deploy.serving.service import Service

PAGE = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem, "description": what}
    for status, what in {
        400: "The request cannot be answered.",
        401: "No valid key.",
        413: "The body is too large.",
        422: "The request is invalid.",
        429: "Too many requests are running; retry after Retry-After seconds.",
        503: "Unavailable; retry after Retry-After seconds.",
        504: "The answer took too long.",
    }.items()
}

_REPEATABLE = ("where",)  # URL parameters that take several values
_BAD_BODY = "body: expected a JSON object in UTF-8, and the header content-type: application/json"
_NO_OBJECT = ("json_invalid", "missing", "model_attributes_type")  # what is said of a body that cannot be read


def create_app(
    service: Service, *, api_key: str | None = None, hosts: Iterable[str] = (), reload_seconds: float = 2.0
) -> Any:
    """The ASGI application of a service; closes the service on shutdown.

    hosts: allowed Host headers; empty: any. reload_seconds: between checks of the run's folder; 0: no checks.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(_look(service, reload_seconds)) if reload_seconds else None
        try:
            yield
        finally:
            if looking is not None:
                looking.cancel()
            await asyncio.to_thread(service.close)

    app = FastAPI(
        title="acclimate", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=_ERRORS,
        description="Search with an acclimate run, compare its systems, and collect feedback.",
    )  # fmt: skip
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (AcclimateError, Refused, HTTPException):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(Exception, _failed)
    _add_routes(app, service)
    pages = _add_page(app)
    routes = [path for route in app.routes if (path := getattr(route, "path", None))]
    return Guard(
        app,
        limits=service.limits,
        metrics=service.metrics,
        paths=routes,
        open_paths=["/health", "/ready", *pages],
        api_key=api_key,
        hosts=hosts,
    )


def _add_routes(app: FastAPI, service: Service) -> None:
    strict = [Depends(_only_known)]

    @app.post("/search", dependencies=strict)
    async def search(request: schemas.Search) -> schemas.Results:
        """The best documents for a query."""
        return await service.search(request, canonical(_plain(request.filters)))

    @app.get("/search", dependencies=strict)
    async def search_by_url(
        q: Annotated[schemas.Text, Query(description="Query text.")],
        system: schemas.Name | None = None,
        k: Annotated[int, Query(ge=1)] = 10,
        chars: schemas.Chars = 1000,
        where: Annotated[
            list[str] | None,
            Query(description="field=value, field>=value, field^=beginning; repeatable.", max_length=20),
        ] = None,
    ) -> schemas.Results:
        """Search by URL parameters."""
        request = schemas.Search(query=q, system=system, k=k, chars=chars)
        return await service.search(request, canonical(from_texts(where or [])))

    @app.post("/compare", dependencies=strict)
    async def compare(request: schemas.Compare) -> schemas.Comparison:
        """Compare two systems side by side: ranks, scores of each member, and highlighted words of the query."""
        return await service.compare(request, canonical(_plain(request.filters)))

    @app.post("/feedback", dependencies=strict)
    def feedback(body: schemas.FeedbackGiven) -> schemas.Kept:
        """Store a preference, a grade or a click."""
        service.keep(body)
        return schemas.Kept(kept=1)

    @app.get("/feedback", dependencies=strict)
    def grades(query: schemas.Text) -> dict[str, int]:
        """The stored grades of documents for a query."""
        return service.grades_of(query)

    @app.get("/judge", dependencies=strict)
    async def to_judge(after: schemas.Text | None = None) -> schemas.ToJudge:
        """The next ungraded query, with documents to grade."""
        return await service.to_judge(after)

    @app.post("/judge", dependencies=strict)
    def judge(body: schemas.Grades) -> schemas.Kept:
        """Store grades of documents for a query, all or none."""
        service.keep_grades(body.query, body.grades, body.rater)
        return schemas.Kept(kept=len(body.grades))

    @app.get("/health")
    async def health() -> schemas.Health:
        """What is served."""
        return service.health()

    @app.get("/ready")
    async def ready() -> Response:
        """200 as long as requests should be sent here: one that is stopping takes no connection."""
        return PlainTextResponse("ready\n")

    @app.get("/metrics", response_class=PlainTextResponse)
    async def counted() -> Response:
        """For Prometheus."""
        info = {"system": str(service.run.system), "run": service.run.fingerprint, "version": __version__}
        return Response(service.metrics.text(info, service.worker.n_waiting), media_type=metrics.CONTENT_TYPE)


def _only_known(request: Request) -> None:
    """Raise SettingError for a URL parameter that would have no effect, and for text that would be read as another.

    Such as `filters`, the first of two values of `k`, and bytes that are not UTF-8.
    """
    try:
        unquote_to_bytes(request.url.query).decode()
    except UnicodeDecodeError:
        raise SettingError("the URL parameters are not UTF-8; encode them as UTF-8 before they are quoted") from None
    names = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in names:
            raise unknown("URL parameter", name, names)
        if name not in _REPEATABLE and len(request.query_params.getlist(name)) > 1:
            raise SettingError(f"the URL parameter {name} comes more than once; expected it once")


def _plain(filters: schemas.Filters) -> dict[str, Any]:
    """Filters without the classes of their schema."""
    return {
        name: value.model_dump(exclude_none=True) if isinstance(value, schemas.Condition) else value
        for name, value in filters.items()
    }


def _add_page(app: FastAPI) -> list[str]:
    """Add a route for each file of the page; returns their paths."""
    paths: list[str] = []
    for file in sorted(PAGE.iterdir()):
        if file.suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            app.add_api_route(path, _file_route(file), include_in_schema=False)
            paths.append(path)
    return paths


def _file_route(file: Path) -> Callable[[], Awaitable[Response]]:
    """A route that serves a file as it was when the service started."""
    content, kind = file.read_bytes(), f"{_TYPES[file.suffix]}; charset=utf-8"

    async def give() -> Response:
        return Response(content, media_type=kind)

    return give


async def _look(service: Service, seconds: float) -> None:
    """Check for a newer run, forever."""
    while True:
        await asyncio.sleep(seconds)
        if outcome := await asyncio.to_thread(service.reloading.check):
            service.metrics.reload(outcome)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _problem(422, "; ".join(map(_fault, error.errors()[:3])))


def _fault(error: dict[str, Any]) -> str:
    if error["type"] in _NO_OBJECT and (error["loc"] == ("body",) or error["type"] == "json_invalid"):
        return _BAD_BODY
    if error["type"] == "union_tag_not_found":  # the field by which kinds of bodies are told apart
        return f"body.{error['ctx']['discriminator'].strip(chr(39))}: Field required"
    message = "no such field; /openapi.json lists all" if error["type"] == "extra_forbidden" else error["msg"]
    return f"{'.'.join(map(str, error['loc']))}: {message}"


async def _refused(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Refused):
        return _problem(error.status, error.message, dict(error.headers))
    if isinstance(error, HTTPException) and error.status_code == 400:  # only of a body that cannot be parsed
        return _problem(422, _BAD_BODY)
    if isinstance(error, HTTPException):
        return _problem(error.status_code, str(error.detail), dict(error.headers or {}))
    if isinstance(error, SettingError):
        return _problem(422, str(error))
    return _problem(503, str(error), {"retry-after": "5"})  # a loaded file cannot be read any more


async def _failed(_: Request, error: Exception) -> JSONResponse:
    return _problem(500, OUR_ERROR)  # the guard sees the exception too and logs it


def _problem(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    text = shortened(on_one_line(message))
    return JSONResponse({"error": text}, status_code=status, headers=headers)
