"""One call from a video and sentences to moments and highlights, through `transformers.pipeline`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, Protocol, TypeAlias, cast, overload

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoProcessor, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import ModelOutput, logging

from ..backbones.features import VideoFeatures
from ..common.loading import load_complete_model
from ..common.time_axis import TimeAxis
from .inputs import is_one_video
from .moments import MomentResult, MomentSelection, select_moments
from .processing import VideoLightsProcessor
from .saving import SavedPipeline
from .windows import check_duration, merge_moments, merge_saliency, plan_windows

TASK = "video-moment-retrieval"

DEFAULT_BATCH_SIZE = 16
DEFAULT_SELECTION = MomentSelection(top_k=5, nms_threshold=0.7, max_after_nms=None)
# Arguments of a call, by the step of the pipeline that takes them.
_PREPROCESS = ("fps", "audio", "window_stride", "show_progress")
_FORWARD = ("show_progress",)
_SELECTION = ("top_k", "score_threshold", "nms_threshold", "round_to_clips")
# The model's inputs that sentences make; one video makes the others, whatever the number of sentences about it.
_OF_TEXT = ("text_features", "text_attention_mask")
# What `_forward` keeps of a batch's outputs.
_PREDICTIONS = ("logits", "pred_spans", "saliency_scores")


class Picture(Protocol):
    """A PIL image."""

    def convert(self, mode: str) -> Any:
        """The picture in another color mode."""


# What a call takes as one video: a path, a binary file object, an array (T, H, W, 3) of RGB uint8, a list of PIL images,
# or features computed before.
Video: TypeAlias = "str | os.PathLike[str] | IO[bytes] | np.ndarray | VideoFeatures | Sequence[Picture]"


class VideoMomentRetrievalPipeline(SavedPipeline):
    r"""Finds the moments of a video that sentences describe, and scores every clip as a highlight of them.

    A video is decoded and encoded once, whatever the number of sentences. It may be of any length: one with more than
    `config.max_video_length` clips runs in overlapping windows, whose predictions are merged as `windows.py` describes.

    Load it with [`~VideoMomentRetrievalPipeline.from_pretrained`], whose results are typed, or with
    `pipeline("video-moment-retrieval", model=...)`; the processor comes from the same folder or repository. Settings
    given there are the defaults of the calls.

    Args:
        model: The model.
        processor: The processor, which holds the feature backbones. It is moved to the pipeline's device, and to
            `dtype` if that is given.
        **kwargs: Arguments of [`~transformers.Pipeline`] (`device`, `batch_size`, `dtype`: the floating-point type of
            the feature backbones, float32 by default), and defaults of the calls.

    Raises:
        ValueError: There is no processor, or it does not fit the model.

    Example:

    ```python
    >>> from videolights_hf import VideoMomentRetrievalPipeline
    >>> from videolights_hf.demo import demo_checkpoint, demo_videos

    >>> finder = VideoMomentRetrievalPipeline.from_pretrained(demo_checkpoint(), device="cpu")
    >>> result = finder(demo_videos() / "demo_0_00000.mp4", "a red circle")
    >>> sorted(result)
    ['clip_length', 'duration', 'moments', 'query', 'saliency']
    >>> sorted(result["moments"][0])
    ['end', 'score', 'start']

    ```
    """

    # Transformers declares these as None.
    _load_processor: Any = True
    _load_tokenizer: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False

    processor: VideoLightsProcessor

    def __init__(self, model: PreTrainedModel, processor: VideoLightsProcessor | None = None, **kwargs: Any):
        if processor is None:
            raise ValueError(
                f"The {TASK} pipeline needs the model's processor: pass `processor=VideoLightsProcessor...`, or load "
                "model and processor from one folder with `pipeline(..., model=path)`."
            )
        processor.check_compatible(model.config)
        dtype = kwargs.get("dtype")
        super().__init__(model=model, processor=processor, **kwargs)
        self.model.eval()
        self.processor.to(self.device, dtype if isinstance(dtype, torch.dtype) else None)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        device: str | int | torch.device | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int | None = None,
        trust_remote_code: bool = False,
        **hub_arguments: Any,
    ) -> VideoMomentRetrievalPipeline:
        """Load model, processor and backbones from one folder or Hub repository.

        Args:
            pretrained_model_name_or_path: Folder or Hub id.
            device: Where to run; by default the first accelerator there is.
            dtype: Floating-point type of model and backbones. By default the model is loaded as it was saved, and the
                backbones in float32.
            batch_size: Default of the calls.
            trust_remote_code: Run the code that was saved with the checkpoint.
            **hub_arguments: `revision`, `subfolder`, `token`, `cache_dir`, ...

        Raises:
            OSError: The folder or repository holds no model or no processor.
            ValueError: The model is of another kind or damaged, or there is no such device.
        """
        path = os.fspath(pretrained_model_name_or_path)
        if device is not None and str(device) == "meta":
            raise ValueError("Cannot run on the device 'meta', which computes nothing: name cpu, cuda or mps.")
        hub_arguments["trust_remote_code"] = trust_remote_code
        try:
            config = AutoConfig.from_pretrained(path, **hub_arguments)
            if not hasattr(config, "video_backbones"):
                raise ValueError(f"{path} holds a model of the type {config.model_type!r}, which finds no moments.")
            model = load_complete_model(
                cast("type[PreTrainedModel]", AutoModel), path, dtype=dtype or "auto", config=config, **hub_arguments
            )
            processor = AutoProcessor.from_pretrained(path, **hub_arguments)
        except (OSError, ValueError, ImportError):
            raise
        # What a damaged file raises depends on the libraries below.
        except Exception as error:
            raise ValueError(f"The model {path} cannot be loaded: {error}") from error
        settings = {"device": device, "dtype": dtype, "batch_size": batch_size}
        try:
            return cls(model, processor, **{name: value for name, value in settings.items() if value is not None})
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"Cannot run on the device {str(device)!r}: {error}") from error

    @overload  # type: ignore[override]
    def __call__(self, video: Video, text: str, **options: Any) -> MomentResult: ...

    @overload
    def __call__(self, video: Video, text: list[str] | tuple[str, ...], **options: Any) -> list[MomentResult]: ...

    @overload
    def __call__(self, video: list[Video] | tuple[Video, ...], text: str, **options: Any) -> list[MomentResult]: ...

    @overload
    def __call__(
        self, video: list[Video] | tuple[Video, ...], text: list[str] | tuple[str, ...], **options: Any
    ) -> list[list[MomentResult]]: ...

    def __call__(
        self, video: Any, text: Any, *, batch_size: int | None = None, **options: Any
    ) -> MomentResult | list[MomentResult] | list[list[MomentResult]]:
        """Find the moments of a video, or of several, that sentences describe.

        Args:
            video: A path, a binary file object, an array (T, H, W, 3) of RGB uint8, a list of PIL images, or
                [`VideoFeatures`] computed before; or a list of these, several videos.
            text: One sentence, or a list of sentences. Each is looked for in each of the videos.
            batch_size: Sentences, times windows of a long video, that pass through the model at once; 16 by default.
            **options: Any of these:

                - `fps`: frames per second of videos given as arrays or lists of images;
                - `audio`: features (L, audio_dim) of the video's sound, for models that use it; for several videos a
                  list;
                - `window_stride`: clips from one window of a long video to the next; half a window by default;
                - `top_k`: keep at most this many moments per sentence, 5 by default; `None` keeps all;
                - `score_threshold`: drop moments with a lower score, 0 by default;
                - `nms_threshold`: of two moments with a larger temporal IoU keep the better one, 0.7 by default;
                  `None` keeps both;
                - `round_to_clips`: round times to multiples of the clip length, as published evaluations do; `True`
                  by default;
                - `show_progress`: show progress bars; by default if standard error is a terminal.

        Returns:
            For one sentence a [`MomentResult`], for a list of sentences a list of them, in order; for a list of videos
            a list with this for each. A result is a dictionary:

            - `query`: the sentence;
            - `moments`: `start` and `end` in seconds and `score` in [0, 1], best first. Empty for a model trained for
              highlights only;
            - `saliency`: a score for each clip of the video, higher for better highlights of the sentence; they
              compare within a sentence and have no fixed scale;
            - `clip_length`: seconds per clip;
            - `duration`: length of the video in seconds.

        Raises:
            FileNotFoundError: The path does not exist.
            ValueError: The video cannot be read, a sentence is empty, `fps` is missing, or a setting makes no sense.
        """
        if batch_size is None:
            batch_size = self._batch_size or DEFAULT_BATCH_SIZE
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        given = self._sanitize_parameters(**options)
        defaults = (self._preprocess_params, self._forward_params, self._postprocess_params)
        preprocess, forward, postprocess = (default | own for default, own in zip(defaults, given, strict=True))
        forward["batch_size"] = batch_size
        selection = replace(DEFAULT_SELECTION, **postprocess)

        several_videos = not is_one_video(video)
        videos = list(video) if several_videos else [video]
        tracks = _audio_tracks(preprocess.pop("audio", None), len(videos), several_videos)
        sentences = [text] if isinstance(text, str) else list(text)
        if not videos:
            raise ValueError("`video` is an empty list: give at least one video.")
        if not sentences:
            raise ValueError("`text` is an empty list: give at least one sentence.")
        self.processor.find_backbones(
            video=not all(isinstance(one, Mapping) or hasattr(one, "num_clips") for one in videos)
        )
        # First the cheap part, which fails on bad sentences.
        encoded = self.processor.encode_text(sentences)
        results = []
        for one, track in zip(videos, tracks, strict=True):
            inputs = {"video": one, "audio": track, "sentences": sentences, "text_features": encoded}
            found = self.run_single(inputs, preprocess, forward, {"selection": selection})
            results.append(found[0] if isinstance(text, str) else found)
        return results if several_videos else results[0]

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict, dict, dict]:
        steps = (_PREPROCESS, _FORWARD, _SELECTION)
        unknown = kwargs.keys() - {name for names in steps for name in names}
        if unknown:
            raise TypeError(f"The {TASK} pipeline has no argument {', '.join(sorted(unknown))}.")
        preprocess, forward, postprocess = (
            {name: kwargs[name] for name in names if name in kwargs} for names in steps
        )
        MomentSelection(**postprocess)
        return preprocess, forward, postprocess

    def preprocess(  # type: ignore[override]
        self,
        inputs: dict[str, Any],
        fps: float | None = None,
        window_stride: int | None = None,
        show_progress: bool | None = None,
    ) -> dict[str, Any]:
        """Encode the video and lay the windows over it."""
        video = inputs["video"]
        if isinstance(video, Mapping):
            raise ValueError(
                "A dictionary of features lacks the video's duration: pass "
                "`VideoFeatures(features, duration=..., clip_length=...)`."
            )
        # By its attributes: code loaded with a checkpoint may hold a second copy of the class.
        if not hasattr(video, "num_clips"):
            video = self.processor.encode_video(video, fps, show_progress=_shows_progress(show_progress))
        self.processor.check_frame_sampling(video)
        check_duration(video.num_clips, video.clip_length, video.duration)
        num_clips, duration = video.num_clips, video.duration
        if inputs["audio"] is not None:
            # Where the sound ends early, the clips without it are left out, as in training.
            num_clips = min(num_clips, len(inputs["audio"]))
            duration = TimeAxis(duration, num_clips, video.clip_length).seconds
        windows = plan_windows(
            num_clips, video.clip_length, duration, self.model.config.max_video_length, window_stride
        )
        return {**inputs, "video": video, "windows": windows}

    def _forward(  # type: ignore[override]
        self, inputs: dict[str, Any], batch_size: int, show_progress: bool | None = None
    ) -> dict[str, Any]:
        """Run the model on every pair of a sentence and a window, sentence by sentence."""
        windows, audio = inputs["windows"], inputs["audio"]
        # A single window takes the features as they are: the processor checks that their lengths agree.
        rows = [window.clips for window in windows] if len(windows) > 1 else [slice(None)]
        features = [{name: array[row] for name, array in inputs["video"].features.items()} for row in rows]
        tracks = [None if audio is None else audio[row] for row in rows]
        pairs = [(text, index) for text in inputs["text_features"] for index in range(len(windows))]

        batches = []
        with logging.tqdm(
            total=len(pairs), unit="window", desc="Finding moments", disable=not _shows_progress(show_progress)
        ) as progress:
            for first in range(0, len(pairs), batch_size):
                batch = pairs[first : first + batch_size]
                model_inputs = self.processor(
                    videos=[features[index] for _, index in batch],
                    text=[text for text, _ in batch],
                    audio=None if audio is None else [tracks[index] for _, index in batch],
                ).to(self.device, dtype=self.model.dtype)
                if len({index for _, index in batch}) == 1 and getattr(self.model, "shares_video", False):
                    model_inputs |= {name: rows[:1] for name, rows in model_inputs.items() if name not in _OF_TEXT}
                outputs = self.model(**model_inputs)
                batches.append({name: outputs[name] for name in _PREDICTIONS})
                progress.update(len(batch))
        predictions = {name: torch.cat([batch[name] for batch in batches]) for name in _PREDICTIONS}
        return {**inputs, "predictions": ModelOutput(predictions)}

    def postprocess(  # type: ignore[override]
        self, outputs: dict[str, Any], selection: MomentSelection = DEFAULT_SELECTION
    ) -> list[MomentResult]:
        """Merge the windows' predictions: a result for each sentence."""
        video, windows, predictions = outputs["video"], outputs["windows"], outputs["predictions"]
        durations = [window.duration for window in windows] * len(outputs["sentences"])
        # Windows are full, or the only one: no row of the predictions is padding.
        parts = self.processor.post_process_moment_retrieval(
            predictions,
            durations,
            video_attention_mask=torch.ones(predictions.saliency_scores.shape),
            round_to_clips=selection.round_to_clips,
        )
        # Rounded within their windows: a window need not begin at a multiple of the clip length.
        merged_selection = replace(selection, round_to_clips=False)
        results: list[MomentResult] = []
        for index, sentence in enumerate(outputs["sentences"]):
            own = parts[index * len(windows) : (index + 1) * len(windows)]
            moments = []
            if not self.model.config.highlight_only:
                moments = merge_moments(windows, [part["moments"] for part in own], video.clip_length)
            rows = np.array([(moment["start"], moment["end"], moment["score"]) for moment in moments])
            results.append(
                {
                    "query": sentence,
                    "moments": select_moments(rows, video.duration, video.clip_length, merged_selection),
                    "saliency": merge_saliency(windows, [np.asarray(part["saliency"]) for part in own]).tolist(),
                    "clip_length": video.clip_length,
                    "duration": video.duration,
                }
            )
        return results


def register_pipeline() -> None:
    """Make `pipeline("video-moment-retrieval", model=...)` known to transformers."""
    if TASK not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            TASK, pipeline_class=VideoMomentRetrievalPipeline, pt_model=AutoModel, type="multimodal"
        )


def _audio_tracks(audio: Any, num_videos: int, several_videos: bool) -> list[Any]:
    tracks = list(audio) if several_videos and audio is not None else [audio] * num_videos
    if len(tracks) != num_videos:
        raise ValueError(f"{num_videos} videos came with {len(tracks)} arrays of audio features.")
    return tracks


def _shows_progress(show_progress: bool | None) -> bool:
    return sys.stderr.isatty() if show_progress is None else show_progress


__all__ = ["VideoMomentRetrievalPipeline", "register_pipeline"]
