"""The HTTP service: add a video, ask about it many times, get JSON."""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .answers import AnswerService, ServiceError, ServiceSettings

logger = logging.getLogger(__name__)

_JSON_BYTES = 1_000_000
_CHUNK = 2**20
# Of a body that is too large so much is read all the same: most clients see an answer only when they have sent all.
_DISCARDED = 16_000_000
_Body = TypeVar("_Body", bound=BaseModel)
_Value = TypeVar("_Value")


class VideoSource(BaseModel):
    """A video that the server can reach: one of the two."""

    model_config = ConfigDict(extra="forbid")
    path: str | None = Field(None, description="A file in a folder that the operator allows.")
    url: str | None = Field(None, description="An address that the operator allows.")


class Question(BaseModel):
    """What to look for in a video."""

    model_config = ConfigDict(extra="forbid")
    sentences: list[str] = Field(min_length=1)
    top_k: int | None = Field(5, ge=1, description="At most this many moments per sentence; null keeps all.")
    score_threshold: float = Field(0.0, ge=0, le=1, description="Drop moments with a lower score.")
    nms_threshold: float | None = Field(0.7, ge=0, le=1, description="Drop overlaps beyond this IoU; null keeps all.")


class Metrics:
    """Counts for Prometheus."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        with self._lock:
            self._requests[route, status] += 1
            self._seconds[route] += seconds

    def text(self, service: AnswerService) -> str:
        """All counts in Prometheus' text format."""
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
        lines = ["# TYPE videolights_requests_total counter"]
        for (route, status), number in sorted(requests.items()):
            lines.append(f'videolights_requests_total{{route="{route}",status="{status}"}} {number}')
        lines.append("# TYPE videolights_request_seconds_total counter")
        lines += [
            f'videolights_request_seconds_total{{route="{name}"}} {value:.6f}' for name, value in seconds.items()
        ]
        lines += ["# TYPE videolights_in_flight gauge", f"videolights_in_flight {service.in_flight}"]
        lines += ["# TYPE videolights_videos gauge", f"videolights_videos {service.num_videos}"]
        return "\n".join(lines) + "\n"


def create_app(service: AnswerService) -> FastAPI:
    """The application of a service, for any ASGI server; one process holds one model and its encoded videos."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # FastAPI's own page loads its scripts from elsewhere.
    app = FastAPI(title="VideoLights", docs_url=None, redoc_url=None, lifespan=lifespan)
    metrics = Metrics()
    _add_errors(app)
    _add_watching(app, service, metrics)
    _add_routes(app, service)
    return app


def _add_routes(app: FastAPI, service: AnswerService) -> None:
    @app.post("/videos", status_code=201, openapi_extra=_takes(VideoSource, uploads=True))
    async def add_video(request: Request) -> JSONResponse:
        """Add a video: its bytes as the body, or JSON that names a path or an address that the operator allows."""
        with service.place_in_queue(), tempfile.TemporaryDirectory(prefix="videolights-") as folder:
            path = await _within(service, _receive(request, service, Path(folder)))
            return JSONResponse(await anyio.to_thread.run_sync(service.add, path), 201)

    @app.post("/videos/{key}/moments", openapi_extra=_takes(Question))
    async def ask(key: str, request: Request) -> JSONResponse:
        """Moments and highlights of a video that was added, for each sentence."""
        with service.place_in_queue():
            question = await _within(service, _read_json(request, Question))
            options = question.model_dump(exclude={"sentences"})
            results = await anyio.to_thread.run_sync(service.ask, key, question.sentences, options)
            return JSONResponse({"id": key, "predictions": results})

    @app.delete("/videos/{key}", status_code=204)
    async def remove_video(key: str) -> Response:
        """Forget a video."""
        service.remove(key)
        return Response(status_code=204)


def _add_watching(app: FastAPI, service: AnswerService, metrics: Metrics) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the service is up, and how many requests are in flight."""
        return {"status": "ok", "in_flight": service.in_flight, "videos": service.num_videos}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def show_metrics() -> str:
        """Counts in Prometheus' text format."""
        return metrics.text(service)

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> str:
        return _docs_page(app.openapi())

    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        start = time.perf_counter()
        try:
            response = await call_next(request)
        except Exception:
            # A fault of the program: the log has it, the client has one line.
            logger.exception("%s %s failed", request.method, request.url.path)
            response = _error(500, "The server failed; its log says why.")
        # By the route's pattern: paths of clients would make endless series.
        route = getattr(request.scope.get("route"), "path", "none")
        metrics.count(route, response.status_code, time.perf_counter() - start)
        return response


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ServiceError)
    async def service_error(_: Request, error: ServiceError) -> JSONResponse:
        return _error(error.status, error.message)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(ClientDisconnect)
    async def disconnected(_: Request, __: ClientDisconnect) -> JSONResponse:
        return _error(400, "The client went away.")


def _error(status: int, message: str, headers: Any = None) -> JSONResponse:
    response = JSONResponse({"error": message}, status, headers=headers)
    if status == 503:
        response.headers["Retry-After"] = "1"
    # What is left of an upload is not read: the connection cannot be used again.
    if status in (408, 413):
        response.headers["Connection"] = "close"
    return response


async def _within(service: AnswerService, receiving: Awaitable[_Value]) -> _Value:
    try:
        return await asyncio.wait_for(receiving, service.settings.timeout)
    except (asyncio.TimeoutError, TimeoutError):
        raise ServiceError(
            408, f"The request took more than {service.settings.timeout:g} seconds to arrive."
        ) from None


async def _receive(request: Request, service: AnswerService, folder: Path) -> Path:
    """The video of a request as a file."""
    settings = service.settings
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if kind == "application/json":
        source = await _read_json(request, VideoSource)
        if (source.path is None) == (source.url is None):
            raise ServiceError(422, "Give one of `path` and `url`.")
        if source.path is not None:
            return settings.check_path(source.path)
        url = settings.check_url(source.url or "")
        return await anyio.to_thread.run_sync(_download, url, folder / "video", settings)
    if kind != "application/octet-stream" and not kind.startswith("video/"):
        raise ServiceError(415, f"The content type is {kind!r}: send the video's bytes as video/mp4, or JSON.")
    # Not by the name that the client gives, which may lead anywhere.
    path = folder / "video"
    with path.open("wb") as file:
        async for chunk in _limited(request, int(settings.max_megabytes * 1e6)):
            file.write(chunk)
    if not path.stat().st_size:
        raise ServiceError(422, "The body is empty: send the video's bytes.")
    return path


async def _limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body, counted: what a client says of its length need not be true."""
    announced = request.headers.get("content-length", "")
    announced_size = int(announced) if announced.isdecimal() else 0
    if announced_size > limit + _DISCARDED:
        raise _too_large(limit)
    size, refused = 0, announced_size > limit
    async for chunk in request.stream():
        size += len(chunk)
        refused = refused or size > limit
        if not refused:
            yield chunk
        elif size > limit + _DISCARDED:
            break
    if refused:
        raise _too_large(limit)


def _too_large(limit: float) -> ServiceError:
    return ServiceError(413, f"The body is larger than {limit / 1e6:g} MB.")


async def _read_json(request: Request, form: type[_Body]) -> _Body:
    content = b"".join([chunk async for chunk in _limited(request, _JSON_BYTES)])
    try:
        return form.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the body"
        raise ServiceError(422, f"{place}: {first['msg']}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect may lead where the operator allows nothing."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""
        return None


def _download(url: str, path: Path, settings: ServiceSettings) -> Path:
    limit, deadline = int(settings.max_megabytes * 1e6), time.monotonic() + settings.timeout
    try:
        opener = urllib.request.build_opener(_NoRedirects)
        with opener.open(url, timeout=min(30, settings.timeout)) as response, path.open("wb") as file:
            while chunk := response.read(_CHUNK):
                if file.tell() + len(chunk) > limit:
                    raise _too_large(limit)
                if time.monotonic() > deadline:
                    raise ServiceError(504, "The address takes too long to answer.")
                file.write(chunk)
    except (OSError, ValueError) as error:
        status = getattr(error, "code", None)
        what = f"status {status}" if status else type(error).__name__
        raise ServiceError(502, f"The address cannot be read ({what}).") from error
    return path


def _takes(form: type[BaseModel], uploads: bool = False) -> dict[str, Any]:
    """What the OpenAPI page says of the body, which is read by hand so that it can be counted."""
    content: dict[str, Any] = {"application/json": {"schema": form.model_json_schema()}}
    if uploads:
        content["video/*"] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


def _docs_page(schema: dict[str, Any]) -> str:
    """A page of what the service offers; nothing is fetched when it is viewed."""
    parts = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(operation.get('description', ''))}</p>")
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                rows = "".join(
                    f"<li><code>{html.escape(name)}</code> {html.escape(str(field.get('description', '')))}</li>"
                    for name, field in body["schema"].get("properties", {}).items()
                )
                parts.append(f"<p>Body: <code>{html.escape(kind)}</code></p><ul>{rows}</ul>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>VideoLights</title>'
        '<body style="font-family: sans-serif; max-width: 45em; margin: 2em auto">'
        f'<h1>VideoLights</h1><p><a href="/openapi.json">openapi.json</a></p>{"".join(parts)}</body></html>'
    )


@contextlib.contextmanager
def running_service(service: AnswerService, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve from a thread of this process, for notebooks and tests.

    Yields:
        The address; port 0 takes any free one.

    Raises:
        OSError: The service does not come up, for instance because the port is taken.
    """
    server = uvicorn.Server(uvicorn.Config(create_app(service), host=host, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise OSError(f"The service did not come up on {host}:{port}.")
        time.sleep(0.01)
    try:
        yield f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


__all__ = ["create_app", "running_service"]
