"""A client of the service that needs only Python's standard library."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ..common.files import parse_json


class MomentClient:
    """Talks to `videolights serve`.

    Args:
        address: Address of the service, such as `http://127.0.0.1:8000`.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, address: str, timeout: float = 600):
        self.address = address.rstrip("/")
        self.timeout = timeout

    def upload(self, video: str | os.PathLike[str]) -> str:
        """Send a video file; its id.

        Raises:
            OSError: The file cannot be read, or the service does not answer.
            ValueError: The service refuses it.
        """
        with Path(video).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            return str(self._request("/videos", file, headers)["id"])

    def add(self, *, path: str | None = None, url: str | None = None) -> str:
        """Name a video that the service can reach; its id.

        Raises:
            OSError: The service does not answer.
            ValueError: The service refuses it.
        """
        source = {name: value for name, value in (("path", path), ("url", url)) if value is not None}
        return str(self._post("/videos", source)["id"])

    def ask(self, video_id: str, sentences: list[str], **options: Any) -> list[dict[str, Any]]:
        """Moments and saliency for each sentence, as the pipeline gives them.

        Args:
            video_id: What `upload` or `add` gave.
            sentences: What to look for.
            **options: `top_k`, `score_threshold`, `nms_threshold`.

        Raises:
            OSError: The service does not answer.
            ValueError: The service refuses the question.
        """
        answer = self._post(f"/videos/{video_id}/moments", {"sentences": sentences, **options})
        predictions: list[dict[str, Any]] = answer["predictions"]
        return predictions

    def _post(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        return self._request(path, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _request(self, path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(self.address + path, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                answer: dict[str, Any] = parse_json(response.read().decode())
                return answer
        except urllib.error.HTTPError as error:
            with error:
                content = error.read().decode("utf-8", "replace")
            try:
                message = parse_json(content)["error"]
            except (ValueError, LookupError, TypeError):
                message = content[:200]
            raise ValueError(f"The service answers {error.code}: {message}") from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, (BrokenPipeError, ConnectionResetError)):
                raise ValueError(
                    "The service closed the connection before all was sent: the file is probably larger than it takes."
                ) from error
            raise


__all__ = ["MomentClient"]
