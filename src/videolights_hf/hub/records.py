"""What is known of a model's training, in a file beside its weights, for the card that goes with them."""

from __future__ import annotations

from pathlib import Path

from ..common.files import parse_json, write_json
from .card import TrainingRecord

RECORD_FILE = "training_record.json"


def write_record(folder: str | Path, record: TrainingRecord) -> None:
    """Write a record beside the weights."""
    write_json(Path(folder, RECORD_FILE), record.to_dict())


def read_record(folder: str | Path) -> TrainingRecord | None:
    """The record of a model folder, or `None` if it has none.

    Raises:
        ValueError: The file is damaged.
    """
    path = Path(folder, RECORD_FILE)
    if not path.is_file():
        return None
    try:
        return TrainingRecord.from_dict(parse_json(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, and the card leaves the training out.") from error


__all__ = ["RECORD_FILE", "read_record", "write_record"]
