"""The settings that made what a folder holds, kept beside it, so that results of different settings are never mixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import read_json_object, write_json

# Ours are nested less deeply; a damaged file may nest without end.
_MAX_DEPTH = 4
_SHOWN_LENGTH = 200


class SettingsMismatchError(ValueError):
    """A folder holds results made with other settings."""


def keep_settings(
    path: Path, settings: Mapping[str, Any], kind: str, defaults: Mapping[str, Any] | None = None
) -> None:
    """Write settings to a file, or check that it holds the same ones.

    `checkpoint` tells people where a model came from. Where the digest of its `weights` is known, that decides whether
    it is the same model.

    Args:
        path: The JSON file.
        settings: What the results depend on; may be nested.
        kind: What the folder holds, for the message.
        defaults: Values of settings that files of older versions do not have.

    Raises:
        SettingsMismatchError: Naming each setting that differs, with both values.
        ValueError: The file is damaged.
    """
    found = read_json_object(path)
    if found is None:
        write_json(path, settings)
        return
    older = {name: value for name, value in (defaults or {}).items() if name in settings}
    now, there = _flat(json.loads(json.dumps(settings))), _flat({**older, **found})
    names = [name for name in {**now, **there} if there.get(name) != now.get(name) and not _moved(name, there, now)]
    if names:
        names.sort(key=_is_checkpoint)
        differences = "; ".join(
            f"{name} is {_shown(there.get(name))} there and {_shown(now.get(name))} now" for name in names
        )
        raise SettingsMismatchError(
            f"{path.parent} holds {kind} of other settings: {differences}. Choose another folder, or repeat those "
            "settings."
        )


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except RecursionError:
        return "nested too deeply"
    return shown if len(shown) <= _SHOWN_LENGTH else f"{shown[:_SHOWN_LENGTH]}..."


def _is_checkpoint(name: str) -> bool:
    return name.rpartition(".")[2] == "checkpoint"


def _moved(name: str, there: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether this checkpoint has the same weights in another place."""
    weights = name.removesuffix("checkpoint") + "weights"
    return _is_checkpoint(name) and bool(now.get(weights)) and there.get(weights) == now.get(weights)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        is_nested = isinstance(value, Mapping) and prefix.count(".") < _MAX_DEPTH
        flat |= _flat(value, f"{prefix}{name}.") if is_nested else {f"{prefix}{name}": value}
    return flat
