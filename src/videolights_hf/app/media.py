"""What the app lets through over HTTP: the page and its own files, and nothing else of the server."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Route

from .sessions import Sessions

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# What the page asks for. Gradio has more routes, among them some that read files, fetch addresses, or call functions by
# name.
_OPEN = re.compile(
    r"/(?:|config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(?:/\d+)?|(?:assets|static|svelte|media)/.*)"
    r"|/gradio_api/(?:theme\.css|startup-events|app_id/?|user/?|login_check/?|upload|upload_progress|queue/(?:join|data)|"
    r"cancel|reset/?|heartbeat/[^/]*)"
)
# A browser then loads nothing from elsewhere, whatever the libraries of the page would like.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Gate:
    """Lets requests for the page through, and answers 404 to all others."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        is_open = _OPEN.fullmatch(scope["path"]) and ".." not in scope["path"].split("/")
        app = self.app if is_open else PlainTextResponse("Not Found", 404)
        await app(scope, receive, send_with_headers)


def media_route(sessions: Sessions) -> Route:
    """The route of the files of open pages."""

    async def send_file(request: Request) -> FileResponse:
        path = sessions.find_file(request.path_params["key"], request.path_params["name"])
        if path is None or not path.is_file():
            raise HTTPException(404)
        name = request.path_params["name"]
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        is_shown = kind.startswith("video/")
        return FileResponse(
            path,
            media_type=kind,
            filename=name,
            content_disposition_type="inline" if is_shown else "attachment",
            headers={"Cache-Control": "private, max-age=3600"},
        )

    return Route("/media/{key}/{name}", send_file, methods=["GET", "HEAD"])


__all__ = ["Gate", "media_route"]
