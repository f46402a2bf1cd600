"""VideoLights processor: videos and sentences to the model's inputs, the model's outputs to moments in seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import logging

from .backbones_videolights import FeatureBackbone, get_backbone_class
from .features_videolights import VideoFeatures, join_text_features, join_video_features, pad_rows
from .postprocessing_videolights import post_process_windows, round_decimals, temporal_nms
from .video_videolights import VideoInput, VideoReader, clip_grid

# Where a saved processor keeps the backbones that no Hub repository of their own holds.
BACKBONES_FOLDER = "backbones"
DEFAULT_BACKBONE_CHECKPOINTS = {"clip": "openai/clip-vit-base-patch32"}

# Arguments of `from_pretrained` that say where files come from: the backbones beside the processor need them too.
_HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token")

# What a checkpoint of the model and its processor must agree on.
_SHARED_WITH_CONFIG = (
    "video_backbones",
    "text_backbones",
    "audio_dim",
    "clip_length",
    "max_video_length",
    "max_text_length",
)


class VideoLightsProcessor(ProcessorMixin):
    r"""Prepares videos and sentences for VideoLights, and turns its outputs into moments.

    Videos and sentences may be raw, or features of the backbones computed before. A raw video is decoded once for all
    backbones. Backbones are loaded when first needed, or attached with `set_backbone`.

    Args:
        video_backbones (`list[list]`): `[name, width]` of each video backbone, in channel order.
        text_backbones (`list[list]`): `[name, width]` of each text encoder, in channel order.
        audio_dim (`int`): width of precomputed audio features; 0 means none.
        clip_length (`float`): seconds a clip.
        max_video_length (`int`): clips that the model sees at once.
        max_text_length (`int`): text tokens that the model sees.
        backbone_checkpoints (`dict[str, str]`, *optional*): where each backbone is loaded from: a Hub id, an absolute
            path, or a path relative to the folder or repository that the processor comes from, such as
            `"backbones/clip"`. By default CLIP is the released ViT-B/32.

    Raises:
        ValueError: No backbone in a modality, or a size that is not positive.

    Example:

    ```python
    >>> processor = VideoLightsProcessor([["clip", 512]], [["clip", 512]])
    >>> video = processor.encode_video("holiday.mp4")
    >>> inputs = processor(videos=video, text="a dog runs on the beach")
    >>> outputs = model(**inputs)
    >>> processor.post_process_moment_retrieval(outputs, [video.duration])[0]["moments"]
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
    ):
        for field, backbones in (("video_backbones", video_backbones), ("text_backbones", text_backbones)):
            if not backbones:
                raise ValueError(f"`{field}` is empty: name at least one backbone, such as [['clip', 512]].")
        for field, value in (
            ("clip_length", clip_length),
            ("max_video_length", max_video_length),
            ("max_text_length", max_text_length),
        ):
            if not value > 0:
                raise ValueError(f"`{field}` must be positive, got {value}.")
        self.video_backbones = [list(pair) for pair in video_backbones]
        self.text_backbones = [list(pair) for pair in text_backbones]
        self.audio_dim = audio_dim
        self.clip_length = float(clip_length)
        self.max_video_length = max_video_length
        self.max_text_length = max_text_length
        if backbone_checkpoints is None:
            backbone_checkpoints = DEFAULT_BACKBONE_CHECKPOINTS
        self.backbone_checkpoints = dict(backbone_checkpoints)
        self._backbones: dict[str, FeatureBackbone] = {}
        # Backbones that no checkpoint elsewhere holds, so that saving the processor must save them.
        self._attached: set[str] = set()
        self._origin: str | None = None
        self._origin_arguments: dict[str, Any] = {}
        self._device: str | torch.device | None = None
        self._dtype: torch.dtype | None = None
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

    # Backbones

    def set_backbone(self, backbone: FeatureBackbone) -> None:
        """Attach a backbone; `save_pretrained` will write it beside the processor.

        Raises:
            ValueError: The processor does not use a backbone of this name, or its widths differ.
        """
        self._check_backbone(backbone)
        self._backbones[backbone.name] = backbone
        self._attached.add(backbone.name)

    def get_backbone(self, name: str) -> FeatureBackbone:
        """The backbone of this name, loaded from its checkpoint if it is not there yet.

        Raises:
            ValueError: The backbone is unknown, has no checkpoint, or its widths differ from the processor's.
            OSError: Its checkpoint does not exist or is incomplete.
        """
        if name not in self._backbones:
            backbone_class = get_backbone_class(name)
            if name not in self.backbone_checkpoints:
                raise ValueError(
                    f"No checkpoint is known for the backbone {name!r}: name one in `backbone_checkpoints`, attach "
                    "one with `set_backbone`, or pass precomputed features."
                )
            path, arguments = self._locate(self.backbone_checkpoints[name])
            backbone = backbone_class.from_pretrained(path, device=self._device, dtype=self._dtype, **arguments)
            self._check_backbone(backbone)
            self._backbones[name] = backbone
        return self._backbones[name]

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> VideoLightsProcessor:
        """Run the backbones, now loaded or later, on this device and in this floating-point type."""
        self._device = device if device is not None else self._device
        self._dtype = dtype if dtype is not None else self._dtype
        for backbone in self._backbones.values():
            backbone.to(device, dtype)
        return self

    def _check_backbone(self, backbone: FeatureBackbone) -> None:
        wanted = {
            "video": dict(self.video_backbones).get(backbone.name),
            "text": dict(self.text_backbones).get(backbone.name),
        }
        if wanted == {"video": None, "text": None}:
            used = sorted({name for name, _ in [*self.video_backbones, *self.text_backbones]})
            raise ValueError(f"The processor uses no backbone {backbone.name!r}, only {', '.join(used)}.")
        got = {"video": backbone.video_dim, "text": backbone.text_dim}
        for modality, width in wanted.items():
            if width is not None and got[modality] != width:
                raise ValueError(
                    f"The {modality} features of the backbone {backbone.name!r} are {got[modality]} wide, the "
                    f"processor expects {width}."
                )

    def _is_bundled(self, checkpoint: str) -> bool:
        """Whether a checkpoint lies beside the processor rather than under a Hub id or path of its own."""
        if os.path.isabs(checkpoint):
            return False
        if checkpoint.split("/")[0] == BACKBONES_FOLDER:
            return True
        return self._origin is not None and os.path.isdir(os.path.join(self._origin, checkpoint))

    def _locate(self, checkpoint: str) -> tuple[str, dict[str, Any]]:
        """Path or Hub id to load a checkpoint from, and the arguments that go with it."""
        if not self._is_bundled(checkpoint):
            return checkpoint, {}
        if self._origin is None:
            raise ValueError(
                f"The backbone checkpoint {checkpoint!r} is relative to the folder of a saved processor, but this "
                "processor was not loaded from one. Give an absolute path."
            )
        subfolder = self._origin_arguments.get("subfolder", "")
        if os.path.isdir(self._origin):
            folder = os.path.join(self._origin, subfolder, checkpoint)
            if not os.path.isdir(folder):
                raise FileNotFoundError(f"The processor's backbone is missing: there is no folder {folder}.")
            return folder, {}
        arguments = {name: value for name, value in self._origin_arguments.items() if name != "subfolder"}
        return self._origin, {**arguments, "subfolder": "/".join(filter(None, [subfolder, checkpoint]))}

    # Features

    def encode_video(self, video: VideoInput, fps: float | None = None, show_progress: bool = False) -> VideoFeatures:
        """Features of a raw video from every video backbone, in one decoding pass.

        Args:
            video: Path, binary file object, array (T, H, W, 3) of RGB uint8, or list of PIL images.
            fps: Frames per second of an array or list.
            show_progress: Show a progress bar over the clips.

        Returns:
            The features, not normalised, with the video's duration.

        Raises:
            FileNotFoundError: The path does not exist.
            VideoReadError: The input is not a readable video.
            ValueError: A backbone cannot run, or `fps` is missing or out of place.
        """
        backbones = [self.get_backbone(name) for name, _ in self.video_backbones]
        reader = VideoReader(video, fps)
        duration = reader.metadata.duration
        num_clips, clip_length = clip_grid(duration, self.clip_length)
        features: dict[str, list[np.ndarray]] = {backbone.name: [] for backbone in backbones}
        requirements = [backbone.requirement for backbone in backbones]
        total = num_clips * len(set(requirements))
        with logging.tqdm(total=total, unit="clip", desc="Encoding video", disable=not show_progress) as progress:
            for requirement, frames in reader.clip_frames(requirements, clip_length):
                for backbone in backbones:
                    if backbone.requirement == requirement:
                        features[backbone.name].append(backbone.encode_frames(frames))
                progress.update(len(frames) // requirement.frames_per_clip)
        joined = {name: np.concatenate(parts) for name, parts in features.items()}
        return VideoFeatures(joined, duration=duration, clip_length=clip_length)

    def encode_text(self, sentences: str | Sequence[str]) -> list[dict[str, np.ndarray]]:
        """Token features of sentences from every text encoder.

        Args:
            sentences: One sentence or several.

        Returns:
            For each sentence a dictionary of encoder name to array (N, D), not normalised.

        Raises:
            ValueError: A sentence is empty or no string, or an encoder cannot run.
        """
        sentences = [sentences] if isinstance(sentences, str) else list(sentences)
        for index, sentence in enumerate(sentences):
            if not isinstance(sentence, str) or not sentence.strip():
                raise ValueError(f"Sentence {index} is {sentence!r}: describe the moment in words.")
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
            audio: Audio features (L, audio_dim), one array a video.
            fps: Frames per second of raw videos given as arrays or lists of images.
            return_tensors: `"pt"` or `"np"`.

        Returns:
            `video_features` (B, L, Dv) with the two temporal channels last, `video_attention_mask` (B, L),
            `text_features` (B, N, Dt), `text_attention_mask` (B, N), and `audio_features` (B, L, Da) if the processor
            has audio; the masks are 1 on valid positions. Only what was given is in it.

        Raises:
            ValueError: Nothing given; numbers of videos and sentences that do not pair up; audio missing or out of
                place; features that are empty, of another width, not finite, or of an unknown backbone; an empty
                sentence.
        """
        if videos is None and text is None:
            raise ValueError("Give `videos`, `text`, or both.")
        data: dict[str, np.ndarray] = {}
        if videos is not None:
            data |= self._video_inputs(_as_list_of_videos(videos), audio, fps)
        elif audio is not None:
            raise ValueError("`audio` goes with `videos`.")
        if text is not None:
            data |= self._text_inputs(text)
        if videos is not None and text is not None:
            data = _pair_up(data)
        return BatchFeature(data, tensor_type=return_tensors)

    def _video_inputs(self, videos: list, audio: Any, fps: float | None) -> dict[str, np.ndarray]:
        if (audio is not None) != bool(self.audio_dim):
            expected = f"audio features of width {self.audio_dim}" if self.audio_dim else "no audio features"
            raise ValueError(f"The processor expects {expected}: {'none' if audio is None else 'some'} were given.")
        tracks = [None] * len(videos) if audio is None else _as_list_of_matrices(audio)
        if len(tracks) != len(videos):
            raise ValueError(f"{len(videos)} videos came with {len(tracks)} arrays of audio features.")
        joined = [
            join_video_features(
                self._features_of(video, fps),
                self.video_backbones,
                max_length=self.max_video_length,
                audio=track,
                audio_dim=self.audio_dim,
            )
            for video, track in zip(videos, tracks, strict=True)
        ]
        features, mask = pad_rows([video for video, _ in joined])
        data = {"video_features": features, "video_attention_mask": mask}
        if audio is not None:
            data["audio_features"], _ = pad_rows([track for _, track in joined])
        return data

    def _features_of(self, video: Any, fps: float | None) -> Mapping[str, Any]:
        if isinstance(video, Mapping):
            return video
        return (video if isinstance(video, VideoFeatures) else self.encode_video(video, fps)).features

    def _text_inputs(self, text: Any) -> dict[str, np.ndarray]:
        sentences = [text] if isinstance(text, (str, Mapping)) else list(text)
        if not sentences:
            raise ValueError("`text` is an empty list: give at least one sentence.")
        raw = [index for index, sentence in enumerate(sentences) if not isinstance(sentence, Mapping)]
        encoded = dict(zip(raw, self.encode_text([sentences[index] for index in raw]), strict=True)) if raw else {}
        joined = [
            join_text_features(encoded.get(index, sentence), self.text_backbones, max_length=self.max_text_length)
            for index, sentence in enumerate(sentences)
        ]
        features, mask = pad_rows(joined)
        return {"text_features": features, "text_attention_mask": mask}

    # Predictions

    def post_process_moment_retrieval(
        self,
        outputs: Any,
        durations: float | Sequence[float],
        *,
        video_attention_mask: Any = None,
        score_threshold: float = 0.0,
        top_k: int | None = None,
        nms_threshold: float | None = None,
        max_after_nms: int = 10,
        round_to_clips: bool = True,
        clamp: Literal["duration"] | tuple[float, float] | None = "duration",
        min_length: float | None = None,
        max_length: float | None = None,
        keep: Literal["left", "right", "center"] = "left",
    ) -> list[dict[str, list]]:
        """Moments in seconds, and the saliency of every clip.

        The score of a moment is its query's foreground probability. The rules and their order are those of the
        released evaluation: spans to seconds, sorted by score, four decimals; lengths, clamping, rounding to clips;
        then temporal NMS. The release clamps to `(0, 150)` on QVHighlights and Charades-STA, and not at all (`None`)
        on the other datasets; neither lets moments depend on the video's own end, which the default does.

        Args:
            outputs: The model's output, with `logits` (B, M, 2), class 0 the foreground, `pred_spans` (B, M, 2) as
                (centre, width) fractions, and `saliency_scores` (B, L).
            durations: Length in seconds of each video (of what the model saw of it), or one for all.
            video_attention_mask: (B, L) mask of the inputs. Without it a video has as many clips as its duration
                implies, at most L.
            score_threshold: Moments with a lower score are left out.
            top_k: At most this many moments, the best ones.
            nms_threshold: Temporal IoU above which the worse of two moments is removed; `None`: no NMS.
            max_after_nms: At most this many moments are left by the NMS.
            round_to_clips: Round times to multiples of the clip length, halves to even.
            clamp: Bounds of the times in seconds; `"duration"`: from 0 to the video's end, where a rounded time past
                the end is put too; `None`: none.
            min_length: Stretch shorter moments to this many seconds.
            max_length: Cut longer moments to this many seconds.
            keep: What of a stretched or cut moment stays in place.

        Returns:
            For each sample `{"moments": [{"start", "end", "score"}, ...], "saliency": [float, ...]}`, moments by
            score, highest first, in seconds; one saliency score for each valid clip.

        Raises:
            ValueError: Another number of durations than samples, a duration that is not positive, a mask of another
                shape than the saliency scores, or settings that make no sense.
        """
        scores = outputs.logits.detach().float().softmax(dim=-1)[..., 0].cpu().double().numpy()
        spans = outputs.pred_spans.detach().cpu().double().numpy()
        saliency = outputs.saliency_scores.detach().float().cpu().numpy()
        durations = np.asarray(durations, dtype=np.float64)
        durations = np.full(len(scores), durations) if durations.ndim == 0 else durations
        if durations.shape != (len(scores),):
            raise ValueError(f"{len(scores)} samples came with durations of the shape {durations.shape}.")
        if not (np.isfinite(durations).all() and (durations > 0).all()):
            raise ValueError(f"Durations are positive numbers of seconds, got {durations.tolist()}.")
        if top_k is not None and top_k < 1:
            raise ValueError(f"`top_k` must be at least 1, got {top_k}.")
        lengths = self._valid_clips(saliency, durations, video_attention_mask)

        results = []
        for index, duration in enumerate(durations.tolist()):
            centres, widths = spans[index].T
            times = np.stack([centres - widths / 2, centres + widths / 2], axis=1) * duration
            order = np.argsort(-scores[index], kind="stable")
            windows = round_decimals(np.concatenate([times, scores[index][:, None]], axis=1)[order])
            lower, upper = (0, duration) if clamp == "duration" else clamp or (None, None)
            windows = post_process_windows(
                windows,
                clip_length=clip_grid(duration, self.clip_length)[1] if round_to_clips else None,
                min_timestamp=lower,
                max_timestamp=upper,
                min_length=min_length,
                max_length=max_length,
                keep=keep,
            )
            if clamp == "duration":
                windows = post_process_windows(windows, min_timestamp=0, max_timestamp=duration)
            windows = windows[windows[:, 2] >= score_threshold]
            if nms_threshold is not None:
                windows = temporal_nms(windows, nms_threshold, max_after_nms)
            moments = [{"start": start, "end": end, "score": score} for start, end, score in windows[:top_k].tolist()]
            results.append({"moments": moments, "saliency": saliency[index, : lengths[index]].tolist()})
        return results

    def _valid_clips(self, saliency: np.ndarray, durations: np.ndarray, mask: Any) -> list[int]:
        if mask is None:
            clips = [clip_grid(duration, self.clip_length)[0] for duration in durations.tolist()]
            return [min(count, saliency.shape[1]) for count in clips]
        mask = torch.as_tensor(mask).cpu().numpy()
        if mask.shape != saliency.shape:
            raise ValueError(
                f"`video_attention_mask` has the shape {mask.shape}, the saliency scores have {saliency.shape}."
            )
        return mask.astype(bool).sum(axis=1).tolist()

    # Saving and loading

    def to_dict(self) -> dict[str, Any]:
        """The settings that `save_pretrained` writes; loaded backbones are not among them."""
        settings = {field: getattr(self, field) for field in (*_SHARED_WITH_CONFIG, "backbone_checkpoints")}
        if hasattr(self, "auto_map"):
            settings["auto_map"] = self.auto_map
        return {**settings, "processor_class": type(self).__name__}

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs) -> list[str]:
        """Write the processor, and beside it the backbones that live in no Hub repository of their own.

        Attached backbones, and those loaded from a folder, go to `backbones/<name>` inside `save_directory`, and the
        saved settings refer to them by that relative path: the folder, or the repository that it is uploaded to, holds
        all that is needed.

        Args:
            save_directory: The folder; it is made if it does not exist.
            push_to_hub: Upload the folder to the Hub afterwards.
            **kwargs: Passed to `ProcessorMixin.save_pretrained`.

        Returns:
            The files written by the processor itself.
        """
        checkpoints = dict(self.backbone_checkpoints)
        used = dict.fromkeys(name for name, _ in [*self.video_backbones, *self.text_backbones])
        for name in used:
            checkpoint = checkpoints.get(name)
            is_local = checkpoint is not None and (self._is_bundled(checkpoint) or os.path.isdir(checkpoint))
            if name in self._attached or is_local:
                relative = f"{BACKBONES_FOLDER}/{name}"
                self.get_backbone(name).save_pretrained(os.path.join(save_directory, BACKBONES_FOLDER, name))
                checkpoints[name] = relative
        own = self.backbone_checkpoints
        self.backbone_checkpoints = checkpoints
        try:
            return super().save_pretrained(os.fspath(save_directory), push_to_hub=push_to_hub, **kwargs)
        finally:
            self.backbone_checkpoints = own

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs) -> VideoLightsProcessor:
        """Load a processor from a folder or a Hub repository; its backbones are loaded when they are needed.

        Args:
            pretrained_model_name_or_path: Folder or Hub id.
            **kwargs: Passed to `ProcessorMixin.from_pretrained` (`revision`, `subfolder`, `token`, ...); settings of
                the processor given here override the saved ones.

        Raises:
            OSError: No processor is there.
        """
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        processor._origin = os.fspath(pretrained_model_name_or_path)
        processor._origin_arguments = {
            name: kwargs[name] for name in (*_HUB_ARGUMENTS, "subfolder") if kwargs.get(name) is not None
        }
        return processor


def _as_list_of_videos(videos: Any) -> list:
    is_one = isinstance(videos, (VideoFeatures, Mapping, str, os.PathLike)) or hasattr(videos, "read")
    if is_one or (hasattr(videos, "ndim") and videos.ndim == 4):
        return [videos]
    videos = list(videos)
    if not videos:
        raise ValueError("`videos` is an empty list: give at least one video.")
    # A list of pictures is one video, a list of anything else a batch.
    is_picture = hasattr(videos[0], "convert") or getattr(videos[0], "ndim", None) == 3
    return [videos] if is_picture else videos


def _as_list_of_matrices(audio: Any) -> list:
    return [audio] if getattr(audio, "ndim", None) == 2 else list(audio)


def _pair_up(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    num_videos, num_sentences = len(data["video_features"]), len(data["text_features"])
    if num_videos != num_sentences and 1 not in (num_videos, num_sentences):
        raise ValueError(
            f"{num_videos} videos and {num_sentences} sentences do not pair up: give as many sentences as videos, or "
            "one of either."
        )
    batch_size = max(num_videos, num_sentences)
    return {
        name: array if len(array) == batch_size else np.repeat(array, batch_size, axis=0)
        for name, array in data.items()
    }
