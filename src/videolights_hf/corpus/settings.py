"""The settings of a corpus, kept beside it, so that corpora of different settings are never mixed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..extraction.store import SettingsMismatchError
from .captioning import Captioner
from .sampling import SamplingSettings
from .scoring import Scorer


def corpus_settings(settings: SamplingSettings, captioner: Captioner, scorer: Scorer) -> dict[str, Any]:
    """What a corpus depends on beside its videos, as plain values."""
    return {
        "form": settings.form.name,
        "interval_length": float(settings.interval_length),
        "clip_length": float(settings.clip_length),
        "caption_frame_size": settings.caption_frame_size,
        "clip_frame_size": settings.clip_frame_size,
        "max_duration": None if math.isinf(settings.max_duration) else float(settings.max_duration),
        "captioner": captioner.identity,
        "scorer": scorer.identity,
    }


def keep_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings to a file, or check that it holds the same ones.

    Raises:
        SettingsMismatchError: Naming each setting that differs, with both values.
    """
    settings = json.loads(json.dumps(settings))
    if not path.is_file():
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
        return
    there = _flat(json.loads(path.read_text(encoding="utf-8")))
    now = _flat(settings)
    differences = [
        f"{name} is {there.get(name)!r} there and {now.get(name)!r} now"
        for name in {**now, **there}
        # A checkpoint may lie elsewhere: `weights` says whether it is the same one.
        if not name.endswith(".checkpoint") and there.get(name) != now.get(name)
    ]
    if differences:
        raise SettingsMismatchError(
            f"{path.parent} holds a corpus of other settings: {'; '.join(differences)}. Choose another folder, or "
            "repeat those settings."
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
