"""From raw videos to the features of the frozen backbones, for a single video and for a whole corpus.

A video is decoded once for all backbones, in background threads while the backbones work, and each backbone's batches
are filled across videos.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..common.batches import run_within_memory
from ..video.background import BackgroundDecoder, FramesDecoded, VideoOpened
from ..video.reader import VideoReader, VideoSource
from .base import FeatureBackbone
from .features import VideoFeatures


class VideoEncoder:
    """Computes the features of videos; frames are decoded once for all backbones.

    Args:
        backbones: Backbones of different names. Their `batch_size` is the number of clips in a batch.
        clip_length: Nominal length of a clip in seconds.
        num_threads: Videos that are decoded at the same time in the background.
        max_waiting_bytes: Limit, roughly, on the memory of decoded frames that wait for the backbones.

    Raises:
        ValueError: No backbone, or two of the same name.
    """

    def __init__(
        self,
        backbones: Sequence[FeatureBackbone],
        clip_length: float = 2.0,
        num_threads: int = 1,
        max_waiting_bytes: int = 2**28,
    ):
        names = [backbone.name for backbone in backbones]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"Backbones of different names are needed, at least one; got {', '.join(names) or 'none'}."
            )
        self.backbones = list(backbones)
        self.clip_length = clip_length
        self.num_threads = num_threads
        self.max_waiting_bytes = max_waiting_bytes

    def encode(
        self,
        videos: Iterable[VideoSource | VideoReader],
        group_size: int | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Generator[VideoFeatures | Exception, None, None]:
        """Encode videos, in order.

        Features depend, in their last digits, on the clips that share a batch. What shares a batch depends on the
        videos, their order, `group_size` and the backbones' batch sizes alone, never on timing: the same call gives
        the same bits.

        Args:
            videos: The videos.
            group_size: Batches are filled across this many consecutive videos; by default across all.
            on_progress: Called with the number of clips that a backbone has encoded.

        Yields:
            For each video its features, not normalized, or the exception that it raised; the others are not affected.

        Raises:
            torch.OutOfMemoryError: A single clip does not fit into the device's memory. When a batch does not fit, the
                backbone's `batch_size` is halved with a warning.
            ImportError: PyAV is not installed.
        """
        report = on_progress or (lambda _: None)
        queues = [_ClipQueue(backbone) for backbone in self.backbones]
        requirements = [backbone.requirement for backbone in self.backbones]
        waiting: deque[_Encoding] = deque()
        num_closed = 0
        with BackgroundDecoder(
            videos, requirements, self.clip_length, self.num_threads, self.max_waiting_bytes
        ) as decoder:
            present: _Encoding | None = None
            for event in decoder:
                if present is None:
                    present = _Encoding(
                        rows={backbone.name: [] for backbone in self.backbones},
                        frame_sampling={backbone.name: backbone.sampling for backbone in self.backbones},
                    )
                    waiting.append(present)
                if isinstance(event, VideoOpened):
                    present.opened = event
                elif isinstance(event, FramesDecoded):
                    for queue in queues:
                        if queue.backbone.requirement == event.requirement:
                            queue.add(present, event.frames)
                            report(queue.run_full_batches())
                else:
                    present.is_closed, present.error = True, event.error
                    present = None
                    num_closed += 1
                    if group_size is not None and num_closed % group_size == 0:
                        for queue in queues:
                            report(queue.run_rest())
                yield from _finished(waiting)
        for queue in queues:
            report(queue.run_rest())
        yield from _finished(waiting)


@dataclass(eq=False)
class _Encoding:
    """A video whose features are being computed."""

    rows: dict[str, list[np.ndarray]]
    frame_sampling: dict[str, str]
    opened: VideoOpened | None = None
    is_closed: bool = False
    error: Exception | None = None
    num_queued: int = 0

    @property
    def result(self) -> VideoFeatures | Exception | None:
        """Features or error, once it is complete."""
        if not self.is_closed or self.error is not None:
            return self.error
        if self.num_queued or self.opened is None:
            return None
        features = {name: np.stack(rows) for name, rows in self.rows.items()}
        return VideoFeatures(features, self.opened.duration, self.opened.clip_length, self.frame_sampling)


def _finished(waiting: deque[_Encoding]) -> Iterator[VideoFeatures | Exception]:
    """Take the complete results off the front."""
    while waiting and (result := waiting[0].result) is not None:
        waiting.popleft()
        yield result


class _ClipQueue:
    """Clips that wait for a backbone, of one or several videos."""

    def __init__(self, backbone: FeatureBackbone):
        self.backbone = backbone
        self._clips: deque[tuple[_Encoding, np.ndarray]] = deque()

    def add(self, encoding: _Encoding, frames: np.ndarray) -> None:
        """Queue the next clips of a video."""
        per_clip = self.backbone.frames_per_clip
        for first in range(0, len(frames), per_clip):
            self._clips.append((encoding, frames[first : first + per_clip]))
        encoding.num_queued += len(frames) // per_clip

    def run_full_batches(self) -> int:
        """Encode all full batches; returns the number of clips."""
        encoded = 0
        while len(self._clips) >= self.backbone.batch_size:
            encoded += self._run(self.backbone.batch_size)
        return encoded

    def run_rest(self) -> int:
        """Encode all clips that wait; returns their number."""
        encoded = self.run_full_batches()
        return encoded + (self._run(len(self._clips)) if self._clips else 0)

    def _run(self, size: int) -> int:
        batch = [self._clips.popleft() for _ in range(size)]
        frames = np.concatenate([clip for _, clip in batch])
        features = run_within_memory(
            self.backbone, f"the backbone {self.backbone.name!r}", lambda: self.backbone.encode_frames(frames)
        )
        name = self.backbone.name
        for (encoding, _), row in zip(batch, features, strict=True):
            encoding.rows[name].append(row)
            encoding.num_queued -= 1
        return size
