"""Custom handler of a Hugging Face inference endpoint; put it, with requirements.txt, beside the model's files.

A request is `{"inputs": {"video": BASE64, "sentences": ["..."]}, "parameters": {"top_k": 5}}`, and the answer a list
with a result for each sentence, as the pipeline gives it; bad input is answered by `{"error": "..."}`.
"""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

from videolights_hf.deploy import load_pipeline

MAX_BYTES = 500_000_000
PARAMETERS = {"top_k", "score_threshold", "nms_threshold", "round_to_clips", "window_stride"}


class EndpointHandler:
    """What inference endpoints load.

    Args:
        path: The repository's folder.
    """

    def __init__(self, path: str = ""):
        self._pipeline = load_pipeline(path)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]] | dict[str, str]:
        """Answer one request."""
        try:
            inputs, parameters = data["inputs"], data.get("parameters") or {}
            video, sentences = inputs["video"], inputs["sentences"]
            unknown = parameters.keys() - PARAMETERS
        except (KeyError, TypeError, AttributeError):
            return {"error": '`inputs` must be {"video": base64 of a video file, "sentences": ["...", ...]}.'}
        if unknown:
            return {"error": f"There is no parameter {', '.join(sorted(map(str, unknown)))}."}
        if not isinstance(video, str) or not isinstance(sentences, list):
            return {"error": "`video` must be a string of base64, and `sentences` a list of strings."}
        if len(video) > 4 * MAX_BYTES / 3:
            return {"error": f"The video is larger than {MAX_BYTES / 1e6:g} MB."}
        try:
            content = base64.b64decode(video, validate=True)
            return [dict(result) for result in self._pipeline(io.BytesIO(content), sentences, **parameters)]
        except binascii.Error:
            return {"error": "`video` is no base64."}
        except (ValueError, TypeError) as error:
            return {"error": " ".join(str(error).split())}
