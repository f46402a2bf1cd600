"""A page of the app without a browser: what Gradio's page sends, by hand, and also what it would never send."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def request(address: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes, Any]:
    """Status, body and headers of an answer. The path is sent as it is written."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, headers or {}), timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


class AppPage:
    """One page of a running app.

    Args:
        address: Where the app is.
    """

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self.session_hash = secrets.token_hex(6)
        config = json.loads(request(f"{self.address}/config")[1])
        self._functions = {function["api_name"]: function["id"] for function in config["dependencies"]}

    def run(self, name: str, *data: Any) -> Any:
        """Start an action and wait for its last output."""
        body = {"data": data, "fn_index": self._functions[name], "session_hash": self.session_hash}
        status, answer, _ = request(
            f"{self.address}/gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        if status != 200:
            return status, answer
        event = json.loads(answer)["event_id"]
        source = f"{self.address}/gradio_api/queue/data?session_hash={self.session_hash}"
        with urllib.request.urlopen(source, timeout=60) as stream:
            for line in stream:
                if line.startswith(b"data:"):
                    message = json.loads(line[5:])
                    if message.get("event_id") == event and message["msg"] == "process_completed":
                        return message["output"].get("data", message["output"])
        raise AssertionError("the answer ended early")

    def upload(self, path: Path) -> tuple[int, str]:
        """Send a file; status, and the server's path or its message."""
        boundary = secrets.token_hex(8)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        status, answer, _ = request(
            f"{self.address}/gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        )
        return status, json.loads(answer)[0] if status == 200 else answer.decode()

    @contextmanager
    def open(self) -> Iterator[None]:
        """The connection by which the server knows that the page is open."""
        with urllib.request.urlopen(f"{self.address}/gradio_api/heartbeat/{self.session_hash}", timeout=60) as stream:
            stream.readline()
            yield


def as_file(path: str) -> dict[str, Any]:
    """A server's path as Gradio's pages name an uploaded file."""
    return {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}
