"""VideoLights processor: videos and sentences to the model's inputs, the model's outputs to moments in seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from transformers import BatchFeature
from transformers.utils import logging

from ..backbones.base import FeatureBackbone
from ..backbones.features import VideoFeatures
from ..backbones.registry import default_checkpoints
from ..backbones.runner import VideoEncoder
from ..backbones.store import BackboneStore
from ..hub.code import AUTO_PROCESSOR
from ..video.reader import VideoInput, VideoReader
from ..video.sampling import count_clips
from .inputs import is_one_video, make_text_batch, make_video_batch, pair_up
from .moments import MomentPrediction, MomentSelection, post_process_outputs
from .saving import SavedProcessor

# What a checkpoint of the model and its processor must agree on.
_SHARED_WITH_CONFIG = (
    "video_backbones",
    "text_backbones",
    "audio_dim",
    "clip_length",
    "max_video_length",
    "max_text_length",
)


class VideoLightsProcessor(SavedProcessor):
    r"""Prepares videos and sentences for VideoLights, and turns its outputs into moments.

    Videos and sentences may be raw, or features that the backbones computed before. A raw video is decoded once for
    all backbones. Backbones are loaded when first needed, or attached with `set_backbone`.

    Args:
        video_backbones: `[name, width]` of each video backbone, in channel order.
        text_backbones: `[name, width]` of each text encoder, in channel order.
        audio_dim: Width of precomputed audio features; 0 for a model without audio.
        clip_length: Seconds per clip.
        max_video_length: Clips that the model sees at once.
        max_text_length: Text tokens that the model sees.
        backbone_checkpoints: Where each backbone is loaded from: a Hub id, an absolute path, or a path relative to the
            folder or repository of the processor, such as `"backbones/clip"`. By default CLIP is the released
            ViT-B/32, and BLIP-2 the one for image-text retrieval with ViT-g.
        backbone_origins: For backbones that are not this package's own, the installed package or the module that provides
            each (see `register_backbone`). Errors name it; it is never imported because of this.

    Raises:
        ValueError: A modality has no backbone, or a size is not positive.

    Example:

    ```python
    >>> from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsProcessor
    >>> from videolights_hf.demo import demo_checkpoint, demo_videos

    >>> model = VideoLightsForMomentRetrieval.from_pretrained(demo_checkpoint())
    >>> processor = VideoLightsProcessor.from_pretrained(demo_checkpoint())
    >>> video = processor.encode_video(demo_videos() / "demo_0_00000.mp4")
    >>> inputs = processor(videos=video, text="a red circle")
    >>> sorted(inputs)
    ['text_attention_mask', 'text_features', 'video_attention_mask', 'video_features']
    >>> outputs = model(**inputs)
    >>> prediction = processor.post_process_moment_retrieval(outputs, video.duration)[0]
    >>> len(prediction["moments"]), len(prediction["saliency"]) == video.num_clips
    (10, True)

    ```
    """

    def __init__(
        self,
        video_backbones: Sequence[Sequence],
        text_backbones: Sequence[Sequence],
        audio_dim: int = 0,
        clip_length: float = 2.0,
        max_video_length: int = 75,
        max_text_length: int = 32,
        backbone_checkpoints: Mapping[str, str] | None = None,
        backbone_origins: Mapping[str, str] | None = None,
    ):
        _check_backbones("video_backbones", video_backbones)
        _check_backbones("text_backbones", text_backbones)
        for field, value in (
            ("clip_length", clip_length),
            ("max_video_length", max_video_length),
            ("max_text_length", max_text_length),
        ):
            if not (isinstance(value, Real) and 0 < value < math.inf):
                raise ValueError(f"`{field}` must be a positive number, got {value!r}.")
        self.video_backbones = [list(pair) for pair in video_backbones]
        self.text_backbones = [list(pair) for pair in text_backbones]
        self.audio_dim = audio_dim
        self.clip_length = float(clip_length)
        self.max_video_length = max_video_length
        self.max_text_length = max_text_length
        if backbone_checkpoints is None:
            backbone_checkpoints = default_checkpoints(
                name for name, _ in [*self.video_backbones, *self.text_backbones]
            )
        self._backbones = BackboneStore(
            self.video_backbones, self.text_backbones, backbone_checkpoints, backbone_origins
        )
        super().__init__()

    @classmethod
    def from_config(cls, config: Any, backbone_checkpoints: Mapping[str, str] | None = None) -> VideoLightsProcessor:
        """Processor for a model's configuration ([`VideoLightsConfig`])."""
        fields = {field: getattr(config, field) for field in _SHARED_WITH_CONFIG}
        return cls(**fields, backbone_checkpoints=backbone_checkpoints)

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that the processor makes for the model."""
        names = ["video_features", "video_attention_mask", "text_features", "text_attention_mask"]
        return [*names, "audio_features"] if self.audio_dim else names

    def check_compatible(self, config: Any) -> None:
        """Check that the processor makes what a model takes.

        Args:
            config: The model's [`VideoLightsConfig`].

        Raises:
            ValueError: They disagree; every field that differs is named with both values.
        """
        differences = [
            f"{field}: processor {getattr(self, field)!r}, model {getattr(config, field)!r}"
            for field in _SHARED_WITH_CONFIG
            if getattr(self, field) != getattr(config, field)
        ]
        if differences:
            raise ValueError(
                f"The processor does not fit the model: {'; '.join(differences)}. Load both from the same checkpoint, "
                "or make one with `VideoLightsProcessor.from_config(model.config)`."
            )

    def set_backbone(self, backbone: FeatureBackbone) -> None:
        """Attach a backbone; `save_pretrained` will write it beside the processor.

        Raises:
            ValueError: The processor does not use a backbone of this name, or its widths differ.
        """
        self._backbones.attach(backbone)

    def get_backbone(self, name: str) -> FeatureBackbone:
        """The backbone of this name, loaded from its checkpoint if it is not there yet.

        Raises:
            ValueError: The backbone is unknown, has no checkpoint, or its widths differ from the processor's.
            OSError: Its checkpoint does not exist or is incomplete.
        """
        return self._backbones.get(name)

    def find_backbones(self, *, video: bool = True, text: bool = True) -> None:
        """Check that backbones are known and their checkpoints exist, before the first is loaded or downloaded.

        Args:
            video: Look for the video backbones.
            text: Look for the text encoders.

        Raises:
            ValueError: A backbone is unknown, or has no checkpoint.
            OSError: A checkpoint does not exist.
        """
        wanted = [*(self.video_backbones if video else []), *(self.text_backbones if text else [])]
        self._backbones.find(name for name, _ in wanted)

    def check_frame_sampling(self, video: VideoFeatures) -> None:
        """Check, where it is known, that features come from the frames that the processor's backbones look at.

        Raises:
            ValueError: They were not.
        """
        self._backbones.check_sampling(video.frame_sampling)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> VideoLightsProcessor:
        """Run the backbones, now loaded or later, on this device and in this floating-point type."""
        self._backbones.to(device, dtype)
        return self

    @property
    def backbone_checkpoints(self) -> dict[str, str]:
        """Where each backbone is loaded from."""
        return self._backbones.checkpoints

    def encode_video(
        self,
        video: VideoInput,
        fps: float | None = None,
        show_progress: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> VideoFeatures:
        """Features of a raw video from every video backbone, in one decoding pass.

        Args:
            video: Path, binary file object, array (T, H, W, 3) of RGB uint8, or list of PIL images.
            fps: Frames per second of an array or list.
            show_progress: Show a progress bar over the clips.
            on_progress: Called with the part that is done, up to 1, after each batch of clips.

        Returns:
            The features, not normalized, with the video's duration.

        Raises:
            FileNotFoundError: The path does not exist.
            VideoReadError: The input is not a readable video.
            ValueError: A backbone cannot run, or `fps` is missing or out of place.
        """
        # A video that cannot be read is found before a backbone is downloaded for it.
        reader = VideoReader(video, fps)
        self.find_backbones(text=False)
        backbones = [self.get_backbone(name) for name, _ in self.video_backbones]
        encoder = VideoEncoder(backbones, self.clip_length)
        duration = reader.metadata.duration
        total = sum(count_clips(backbone.requirement, duration, self.clip_length) for backbone in backbones)
        with logging.tqdm(total=total, unit="clip", desc="Encoding video", disable=not show_progress) as progress:
            (result,) = encoder.encode([reader], on_progress=_both(progress.update, on_progress, total))
        if isinstance(result, Exception):
            raise result
        return result.with_shared_clips() if result.clip_length < self.clip_length else result

    def encode_text(self, sentences: str | Sequence[str]) -> list[dict[str, np.ndarray]]:
        """Token features of sentences from every text encoder.

        Args:
            sentences: One sentence or several.

        Returns:
            For each sentence a dictionary of encoder name to array (N, D), not normalized.

        Raises:
            ValueError: A sentence is empty or not a string, or an encoder cannot run.
        """
        sentences = [sentences] if isinstance(sentences, str) else list(sentences)
        for index, sentence in enumerate(sentences):
            if not isinstance(sentence, str) or not sentence.strip():
                raise ValueError(f"Sentence {index} is {sentence!r}: describe the moment in words.")
            if not sentence.isprintable() and any("\ud800" <= character <= "\udfff" for character in sentence):
                raise ValueError(f"Sentence {index} is {sentence!r}: it is not valid UTF-8.")
        self.find_backbones(video=False)
        encoded = {name: self.get_backbone(name).encode_text(sentences) for name, _ in self.text_backbones}
        return [{name: features[index] for name, features in encoded.items()} for index in range(len(sentences))]

    def __call__(
        self,
        videos: Any = None,
        text: Any = None,
        audio: Any = None,
        fps: float | None = None,
        return_tensors: Literal["pt", "np"] = "pt",
    ) -> BatchFeature:
        """Make a batch of model inputs.

        One video with several sentences is paired with each of them, and one sentence with several videos.

        Args:
            videos: One video or a list: [`VideoFeatures`], a dictionary of backbone name to array (L, D), or a raw
                video as `encode_video` takes it.
            text: One sentence or a list: strings, or dictionaries of encoder name to array (N, D).
            audio: Audio features (L, audio_dim), one array per video.
            fps: Frames per second of raw videos given as arrays or lists of images.
            return_tensors: `"pt"` or `"np"`.

        Returns:
            `video_features` (B, L, Dv) with the two temporal channels last, `video_attention_mask` (B, L),
            `text_features` (B, N, Dt), `text_attention_mask` (B, N), and `audio_features` (B, L, Da) if the processor
            has audio; the masks are 1 on valid positions. Only what was given is in it.

        Raises:
            ValueError: Nothing given; numbers of videos and sentences that do not pair up; audio missing or out of
                place; features that are empty, of the wrong width, not finite, or of an unknown backbone; an empty
                sentence.
        """
        if videos is None and text is None:
            raise ValueError("Give `videos`, `text`, or both.")
        data: dict[str, np.ndarray] = {}
        if videos is not None:
            data |= make_video_batch(
                [self._features_of(video, fps) for video in ([videos] if is_one_video(videos) else videos)],
                self.video_backbones,
                max_length=self.max_video_length,
                audio=[audio] if getattr(audio, "ndim", None) == 2 else audio,
                audio_dim=self.audio_dim,
            )
        elif audio is not None:
            raise ValueError("`audio` goes with `videos`.")
        if text is not None:
            data |= make_text_batch(
                self._token_features_of(text), self.text_backbones, max_length=self.max_text_length
            )
        if videos is not None and text is not None:
            data = pair_up(data)
        return BatchFeature(data, tensor_type=return_tensors)

    def _features_of(self, video: Any, fps: float | None) -> Mapping[str, Any]:
        if isinstance(video, Mapping):
            return video
        if isinstance(video, VideoFeatures):
            self.check_frame_sampling(video)
            return video.features
        return self.encode_video(video, fps).features

    def _token_features_of(self, text: Any) -> list[Mapping[str, Any]]:
        sentences: list[Any] = [text] if isinstance(text, (str, Mapping)) else list(text)
        raw = [index for index, sentence in enumerate(sentences) if not isinstance(sentence, Mapping)]
        encoded = self.encode_text([sentences[index] for index in raw]) if raw else []
        for index, features in zip(raw, encoded, strict=True):
            sentences[index] = features
        return sentences

    def post_process_moment_retrieval(
        self,
        outputs: Any,
        durations: float | Sequence[float],
        *,
        video_attention_mask: Any = None,
        clamp: Literal["duration"] | tuple[float, float] | None = "duration",
        **selection: Any,
    ) -> list[MomentPrediction]:
        """Moments in seconds, and the saliency of every clip.

        The score of a moment is its query's foreground probability. The rules and their order are those of the
        released evaluation (`select_moments`). The release clamps to `(0, 150)` on QVHighlights and Charades-STA, and
        not at all (`None`) on the other datasets; neither depends on the video's own end, which the default does.

        Args:
            outputs: The model's output.
            durations: Length of each video in seconds (of what the model saw of it), or one for all.
            video_attention_mask: (B, L) mask of the inputs. Without it a video has as many clips as its duration
                implies, at most L.
            clamp: Bounds of the times in seconds, or `None`. `"duration"` stands for the ends of the video, which hold
                after rounding too; a moment that rounding leaves empty becomes the clip at its center.
            **selection: The other fields of [`MomentSelection`]: `score_threshold`, `top_k`, `nms_threshold`,
                `max_after_nms`, `round_to_clips`, `min_length`, `max_length`, `keep`.

        Returns:
            For each sample its moments in seconds, best first, and a saliency score for each valid clip.

        Raises:
            ValueError: Durations or mask do not fit the outputs, the outputs are not finite, or a setting makes no
                sense.
        """
        chosen = MomentSelection(bounds=clamp, **selection)
        return post_process_outputs(outputs, durations, self.clip_length, chosen, video_attention_mask)

    def to_dict(self) -> dict[str, Any]:
        """The settings that `save_pretrained` writes, with the backbones where it puts them."""
        settings = {field: getattr(self, field) for field in _SHARED_WITH_CONFIG}
        settings["backbone_checkpoints"] = self._backbones.saved_checkpoints
        if self._backbones.origins:
            settings["backbone_origins"] = self._backbones.origins
        # Where this package is not installed, the code that the model's `save_pretrained` writes is found by this.
        settings["auto_map"] = {"AutoProcessor": AUTO_PROCESSOR}
        return {**settings, "processor_class": type(self).__name__}


def _check_backbones(field: str, backbones: Any) -> None:
    if not isinstance(backbones, Sequence) or not backbones:
        raise ValueError(f"`{field}` is {backbones!r}: name at least one backbone, such as [['clip', 512]].")
    for pair in backbones:
        is_pair = isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], str)
        if not is_pair or not isinstance(pair[1], int) or pair[1] < 1:
            raise ValueError(f"`{field}` holds {pair!r}: it lists pairs of name and width, such as ['clip', 512].")


def _both(
    update: Callable[[int], Any], on_progress: Callable[[float], None] | None, total: int
) -> Callable[[int], None]:
    """What counts clips for a bar, and also reports the part that is done."""
    done = 0

    def report(num_clips: int) -> None:
        nonlocal done
        done += num_clips
        update(num_clips)
        if on_progress is not None:
            on_progress(min(done / max(total, 1), 1.0))

    return report


__all__ = ["VideoLightsProcessor"]
