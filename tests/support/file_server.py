"""A web server on this machine with one file, whose connections may break."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from videolights_hf.common.downloads import RemoteFile


class FileServer(ThreadingHTTPServer):
    """Serves `content` under any path while in a `with` block.

    Attributes:
        content: What the file holds.
        breaks_after: Bytes after which each connection is closed.
        knows_ranges: Whether `Range` is obeyed.
        status: Sent instead of the file, if it is an error.
        requests: The method and range of each request.
    """

    daemon_threads = True

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.breaks_after: int | None = None
        self.knows_ranges = True
        self.status = 200
        self.requests: list[tuple[str, str | None]] = []

    def __enter__(self) -> FileServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def file(self, size: int, sha256: str) -> RemoteFile:
        return RemoteFile(f"http://127.0.0.1:{self.server_port}/weights.pkl", size, sha256)


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append((self.command, asked))
        if server.status != 200:
            self.send_error(server.status)
            return
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.knows_ranges else 0
        if first >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if asked and server.knows_ranges else 200)
        if asked and server.knows_ranges:
            self.send_header("Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}")
        rest = server.content[first:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if with_content:
            self.wfile.write(rest[: server.breaks_after])
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
