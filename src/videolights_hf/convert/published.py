"""The checkpoints that the authors published, by name: where they are, how to recognize them, and their reported metrics."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from huggingface_hub import constants

from ..common.messages import unknown_name
from ..hub.card import ReportedMetric, TrainingRecord
from ..models.configuration import DetectorConfig
from ..models.videolights.configuration import VideoLightsConfig

CATALOG = Path(__file__).with_name("published.json")
# A published checkpoint with its optimizer has about 130 MB; nothing larger is unpacked.
MAX_CHECKPOINT_BYTES = 2**30

# What a published checkpoint must agree with its preset on; loss weights do not change what it predicts.
_ARCHITECTURE = (
    "video_backbones",
    "text_backbones",
    "audio_dim",
    "clip_length",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "num_projection_layers",
    "num_fusion_layers",
    "num_encoder_layers",
    "num_decoder_layers",
    "num_queries",
    "use_feature_refinement",
    "cross_modal_fusion",
    "highlight_only",
)


@dataclass(frozen=True)
class PublishedCheckpoint:
    """One checkpoint of the authors.

    Attributes:
        dataset: Key of the dataset that it was trained on.
        variant: Name of the variant; `-pt` was pretrained on synthetic captions.
        drive_id: Identifier of its file on Google Drive.
        split: Split that the metrics are of.
        metrics: Reported metrics in percent, by the names that evaluation uses.
        source: Who reported them.
        code_license: License of the authors' code; they name none for the weights.
    """

    dataset: str
    variant: str
    drive_id: str
    split: str
    metrics: Mapping[str, float]
    source: str
    code_license: str

    @property
    def name(self) -> str:
        """Its name, such as `qvhighlights/videolights-b-pt`."""
        return f"{self.dataset}/{self.variant}"

    @property
    def page(self) -> str:
        """The page from which it can be fetched by hand."""
        return _page_of(self.drive_id)

    @property
    def config(self) -> VideoLightsConfig:
        """The configuration that it must have, loss weights aside."""
        return VideoLightsConfig.from_preset(self.variant.removesuffix("-pt"), self.dataset)

    @property
    def record(self) -> TrainingRecord:
        """What its card says of its training."""
        metrics = tuple(ReportedMetric(name, value) for name, value in self.metrics.items())
        return TrainingRecord(
            dataset=self.dataset,
            eval_split=self.split,
            metrics=metrics,
            source=self.source,
            code_license=self.code_license,
            origin=f"converted from `{self.name}` of the [authors' checkpoints]({self.page})",
        )

    def check(self, config: DetectorConfig) -> None:
        """Check that a file is this checkpoint.

        Raises:
            ValueError: Its configuration differs; every field that differs is named.
        """
        expected = self.config
        differences = [
            f"{field} is {getattr(config, field)!r} instead of {getattr(expected, field)!r}"
            for field in _ARCHITECTURE
            if getattr(config, field) != getattr(expected, field)
        ]
        if differences:
            raise ValueError(f"The file is not {self.name}: {'; '.join(differences)}.")


@dataclass(frozen=True)
class PublishedFeatures:
    """An archive of features that the authors published.

    Attributes:
        dataset: What they are of.
        archive: Name of the file.
        size: As the authors state it, if they do.
        drive_id: Identifier of its file on Google Drive.
    """

    dataset: str
    archive: str
    size: str | None
    drive_id: str

    @property
    def page(self) -> str:
        """The page from which it can be fetched by hand."""
        return _page_of(self.drive_id)


@lru_cache(maxsize=1)
def _catalog() -> dict[str, Any]:
    return json.loads(CATALOG.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def published_checkpoints() -> dict[str, PublishedCheckpoint]:
    """The published checkpoints by name."""
    common = {name: _catalog()[name] for name in ("source", "code_license")}
    entries = [PublishedCheckpoint(**row, **common) for row in _catalog()["checkpoints"]]
    return {entry.name: entry for entry in entries}


def published_features() -> list[PublishedFeatures]:
    """The published archives of features."""
    return [PublishedFeatures(**row) for row in _catalog()["features"]]


def get_published_checkpoint(name: str) -> PublishedCheckpoint:
    """A published checkpoint by its name.

    Raises:
        ValueError: Unknown name; the message gives the nearest one.
    """
    checkpoints = published_checkpoints()
    if name not in checkpoints:
        raise ValueError(unknown_name("published checkpoint", name, checkpoints))
    return checkpoints[name]


def download_checkpoint(entry: PublishedCheckpoint, cache_dir: str | os.PathLike | None = None) -> Path:
    """Fetch a published file from Google Drive, or take it from the cache.

    A download that breaks off continues where it stopped when the call is repeated.

    Args:
        entry: The checkpoint.
        cache_dir: Where files are kept; by default beside the Hub's cache.

    Raises:
        ImportError: gdown, which reads Google Drive, is not installed.
        OSError: The file cannot be fetched. The message names the page to fetch it from by hand, and the command to
            continue with.
    """
    folder = Path(cache_dir or Path(constants.HF_HOME, "videolights"))
    path = folder / f"{entry.name.replace('/', '-')}-{entry.drive_id}"
    if path.is_file():
        return path
    by_hand = f"Fetch it by hand from {entry.page} and continue with: videolights convert {entry.name} OUTPUT_DIR --file FILE"
    if constants.HF_HUB_OFFLINE:
        raise OSError(f"{entry.name} is not in the cache, and HF_HUB_OFFLINE is set. {by_hand}")
    try:
        import gdown
        from gdown.exceptions import DownloadError, FileURLRetrievalError
        from requests import RequestException
    except ImportError as error:
        raise ImportError(
            f'Google Drive is read by gdown: pip install "videolights-hf[published]". Or: {by_hand}'
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{path.name}.download"
    try:
        gdown.download(id=entry.drive_id, output=os.fspath(partial), resume=True, retries=3, use_cookies=False)
    except (DownloadError, FileURLRetrievalError, RequestException) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{entry.name} cannot be downloaded: {reason} {by_hand}") from error
    if _is_page(partial):
        partial.unlink()
        raise OSError(f"{entry.name} cannot be downloaded: Google Drive answered with a web page. {by_hand}")
    partial.replace(path)
    return path


@contextmanager
def unpacked_checkpoint(path: str | os.PathLike) -> Iterator[Path]:
    """The `.ckpt` of a downloaded file, which may be the checkpoint itself or an archive that holds it.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: An archive is damaged, or holds no `.ckpt`, several, or one that is too large.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint file {path}.")
    if zipfile.is_zipfile(path):
        with _opened_zip(path) as archive:
            # A torch file is a zip archive itself.
            if any(name.endswith("data.pkl") for name in archive.namelist()):
                yield path
                return
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            with archive.open(_only_checkpoint(path, sizes)) as member, _copied(member) as copy:
                yield copy
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            sizes = {member.name: member.size for member in archive if member.isfile()}
            extracted = archive.extractfile(_only_checkpoint(path, sizes))
            assert extracted is not None  # only regular files were listed
            with extracted, _copied(extracted) as copy:
                yield copy
    else:
        yield path


def _opened_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    # `is_zipfile` looks at the end of a file alone.
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged ({error}): download it again.") from error


def _only_checkpoint(path: Path, sizes: Mapping[str, int]) -> str:
    found = [name for name in sizes if name.endswith(".ckpt")]
    # `model_latest.ckpt` is written beside the best one.
    best = [name for name in found if name.endswith("model_best.ckpt")] or found
    if len(best) != 1:
        listed = ", ".join(sorted(found)) or "none"
        raise ValueError(f"{path} must hold one .ckpt file, but holds: {listed}. Unpack it and name the file.")
    if sizes[best[0]] > MAX_CHECKPOINT_BYTES:
        raise ValueError(f"{path}: {best[0]} has {sizes[best[0]]:,} bytes, more than {MAX_CHECKPOINT_BYTES:,}.")
    return best[0]


@contextmanager
def _copied(member: IO[bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model.ckpt")
        try:
            with copy.open("wb") as file:
                shutil.copyfileobj(member, file)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
            raise ValueError(f"The archive of the checkpoint is damaged ({error}): download it again.") from error
        yield copy


def _page_of(drive_id: str) -> str:
    return f"https://drive.google.com/file/d/{drive_id}/view"


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html"))
