"""One call from a video and sentences to moments and highlights, through `transformers.pipeline`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModel
from transformers.pipelines import PIPELINE_REGISTRY, Pipeline
from transformers.utils import ModelOutput, logging
from transformers.utils.hub import create_and_tag_model_card

from ..hub.push import push_saved_folder
from .moments import select_moments
from .windows import merge_moments, merge_saliency, plan_windows

TASK = "video-moment-retrieval"

DEFAULT_BATCH_SIZE = 16
# What `_forward` keeps of a batch's outputs.
_PREDICTIONS = ("logits", "pred_spans", "saliency_scores")


class VideoMomentRetrievalPipeline(Pipeline):
    r"""Finds the moments of a video that sentences describe, and scores every clip as a highlight of them.

    A video is decoded and encoded once, whatever the number of sentences. It may be of any length: one with more than
    `config.max_video_length` clips runs in overlapping windows, whose predictions are merged as
    `windowing_videolights.py` describes.

    Load it with `pipeline("video-moment-retrieval", model=...)`; the processor comes from the same folder or
    repository. Arguments of a call may be given there too, and then are its defaults.

    Args:
        model ([`VideoLightsForMomentRetrieval`]): the model.
        processor ([`VideoLightsProcessor`]): the processor, which holds the feature backbones. It is moved to the
            pipeline's device, and to `dtype` if that is given.
        dtype (`torch.dtype`, *optional*): floating-point type of the feature backbones; float32 by default. The
            `pipeline` function loads the model in it as well.
        **kwargs: arguments of [`~transformers.Pipeline`] (`device`, `batch_size`) and defaults for the calls.

    Raises:
        ValueError: There is no processor, or it does not fit the model.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import videolights_hf

    >>> finder = pipeline("video-moment-retrieval", model="path/to/checkpoint")
    >>> result = finder("holiday.mp4", "a dog runs on the beach")
    >>> result["moments"][0]
    {'start': 12.0, 'end': 20.0, 'score': 0.91}
    ```
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def __init__(self, model: Any, processor: Any = None, **kwargs):
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

    def __call__(
        self, video: Any, text: str | Sequence[str], *, batch_size: int | None = None, **kwargs
    ) -> dict[str, Any] | list:
        """Find the moments of a video, or of several, that sentences describe.

        Args:
            video: A path, a binary file object, an array (T, H, W, 3) of RGB uint8, a list of PIL images, or
                [`VideoFeatures`] computed before; or a list of these, several videos.
            text: One sentence, or a list of sentences. Each is looked for in each of the videos.
            batch_size (`int`, *optional*): sentences, times windows of a long video, that pass through the model at
                once; 16 by default.
            fps (`float`, *optional*): frames a second of videos given as arrays or lists of images.
            audio (`np.ndarray`, *optional*): features (L, audio_dim) of the video's sound, for models that use it;
                for several videos a list.
            window_stride (`int`, *optional*): clips from one window of a long video to the next; half a window by
                default.
            top_k (`int`, *optional*, defaults to 5): at most this many moments for a sentence; `None`: all.
            score_threshold (`float`, defaults to 0): moments with a lower score are left out.
            nms_threshold (`float`, *optional*, defaults to 0.7): of two moments with a larger temporal IoU only the
                better stays; `None`: no suppression.
            round_to_clips (`bool`, defaults to `True`): round times to multiples of the clip length, as published
                evaluations do.
            show_progress (`bool`, *optional*): show progress bars; by default if standard error is a terminal.

        Returns:
            For one sentence a dictionary, for a list of sentences a list of them, in order:

            - `query` (`str`): the sentence;
            - `moments` (`list[dict]`): `start` and `end` in seconds and `score` in [0, 1], best first. Empty for a
              model trained for highlights only;
            - `saliency` (`list[float]`): a score for each clip of the video, higher for better highlights of the
              sentence; they compare within a sentence and have no fixed scale;
            - `clip_length` (`float`): seconds a clip;
            - `duration` (`float`): length of the video in seconds.

            For a list of videos a list with this for each.

        Raises:
            FileNotFoundError: The path does not exist.
            ValueError: The video cannot be read, a sentence is empty, `fps` is missing, or a setting makes no sense.
        """
        if batch_size is None:
            batch_size = self._batch_size or DEFAULT_BATCH_SIZE
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        given = self._sanitize_parameters(**kwargs)
        defaults = (self._preprocess_params, self._forward_params, self._postprocess_params)
        preprocess, forward, postprocess = (default | own for default, own in zip(defaults, given, strict=True))
        forward["batch_size"] = batch_size

        audio = preprocess.pop("audio", None)
        several_videos = _is_several_videos(video)
        videos = list(video) if several_videos else [video]
        tracks = list(audio) if several_videos and audio is not None else [audio] * len(videos)
        if len(tracks) != len(videos):
            raise ValueError(f"{len(videos)} videos came with {len(tracks)} arrays of audio features.")
        sentences = [text] if isinstance(text, str) else list(text)
        if not sentences:
            raise ValueError("`text` is an empty list: give at least one sentence.")
        # First the cheap part, which fails on bad sentences.
        encoded = self.processor.encode_text(sentences)
        results = []
        for one, track in zip(videos, tracks, strict=True):
            inputs = {"video": one, "audio": track, "sentences": sentences, "text_features": encoded}
            found = self.run_single(inputs, preprocess, forward, postprocess)
            results.append(found[0] if isinstance(text, str) else found)
        return results if several_videos else results[0]

    def _sanitize_parameters(self, **kwargs) -> tuple[dict, dict, dict]:
        steps = (
            ("fps", "audio", "window_stride", "show_progress"),
            ("show_progress",),
            ("top_k", "score_threshold", "nms_threshold", "round_to_clips"),
        )
        unknown = kwargs.keys() - {name for names in steps for name in names}
        if unknown:
            raise TypeError(f"The {TASK} pipeline has no argument {', '.join(sorted(unknown))}.")
        if kwargs.get("top_k") is not None and kwargs["top_k"] < 1:
            raise ValueError(f"`top_k` must be at least 1, or None for all moments, got {kwargs['top_k']}.")
        if not 0 <= kwargs.get("score_threshold", 0) <= 1:
            raise ValueError(f"`score_threshold` must be between 0 and 1, got {kwargs['score_threshold']}.")
        return tuple({name: kwargs[name] for name in names if name in kwargs} for names in steps)

    def preprocess(
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
        # Where the sound ends early, the clips without it are left out, as in training.
        num_clips = video.num_clips if inputs["audio"] is None else min(video.num_clips, len(inputs["audio"]))
        windows = plan_windows(
            num_clips, video.clip_length, video.duration, self.model.config.max_video_length, window_stride
        )
        return {**inputs, "video": video, "windows": windows}

    def _forward(self, inputs: dict[str, Any], batch_size: int, show_progress: bool | None = None) -> dict[str, Any]:
        """Run the model on every pair of a sentence and a window, sentence by sentence."""
        windows, audio = inputs["windows"], inputs["audio"]
        # One window takes the features as they are: that the backbones' agree in length is for the processor to judge.
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
                outputs = self.model(**model_inputs)
                batches.append({name: outputs[name] for name in _PREDICTIONS})
                progress.update(len(batch))
        predictions = {name: torch.cat([batch[name] for batch in batches]) for name in _PREDICTIONS}
        return {**inputs, "predictions": ModelOutput(predictions)}

    def postprocess(
        self,
        outputs: dict[str, Any],
        top_k: int | None = 5,
        score_threshold: float = 0.0,
        nms_threshold: float | None = 0.7,
        round_to_clips: bool = True,
    ) -> list[dict[str, Any]]:
        """Merge the windows' predictions: a result for each sentence."""
        video, windows, predictions = outputs["video"], outputs["windows"], outputs["predictions"]
        durations = [window.duration for window in windows] * len(outputs["sentences"])
        # Windows are full, or the only one: no row of the predictions is padding.
        parts = self.processor.post_process_moment_retrieval(
            predictions,
            durations,
            video_attention_mask=torch.ones(predictions.saliency_scores.shape),
            round_to_clips=round_to_clips,
        )
        results = []
        for index, sentence in enumerate(outputs["sentences"]):
            own = parts[index * len(windows) : (index + 1) * len(windows)]
            moments = []
            if not self.model.config.highlight_only:
                moments = merge_moments(windows, [part["moments"] for part in own], video.clip_length)
            rows = [(moment["start"], moment["end"], moment["score"]) for moment in moments]
            saliency = merge_saliency(windows, [np.asarray(part["saliency"]) for part in own])
            results.append(
                {
                    "query": sentence,
                    "moments": select_moments(
                        np.array(rows).reshape(-1, 3),
                        video.duration,
                        score_threshold=score_threshold,
                        top_k=top_k,
                        nms_threshold=nms_threshold,
                        max_after_nms=max(len(rows), 1),
                    ),
                    "saliency": saliency.tolist(),
                    "clip_length": video.clip_length,
                    "duration": video.duration,
                }
            )
        return results

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs) -> None:
        """Save the model, the processor with its backbones, and the code, so that one folder is a whole pipeline.

        Args:
            save_directory: The folder; it is made if it does not exist.
            push_to_hub: Also upload what is saved to the Hub.
            **kwargs: Passed to the model's `save_pretrained`; with `push_to_hub`, also arguments of that method;
                `repo_id` is the folder's name by default.
        """
        repo_id = kwargs.pop("repo_id", os.path.basename(os.path.abspath(save_directory)))
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)
        if push_to_hub:
            self.push_to_hub(repo_id, **kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload pipeline",
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        tags: list[str] | None = None,
        **kwargs,
    ) -> str:
        """Upload the whole pipeline and a model card to a Hub repository, which is made if it does not exist.

        Args:
            repo_id: The repository.
            commit_message: Message of the commit.
            commit_description: More about the commit.
            private: Whether a new repository is private.
            token: Access token; by default the one that is logged in.
            revision: Branch to push to; it is made if it does not exist.
            create_pr: Open a pull request instead of pushing.
            tags: Tags to add to the repository's model card.
            **kwargs: Passed to the model's `save_pretrained` (`include_code`, `max_shard_size`, ...).

        Returns:
            Where the commit can be seen.
        """

        def save(folder: str, full_id: str) -> None:
            self.save_pretrained(folder, **kwargs)
            create_and_tag_model_card(full_id, tags, token=token).save(os.path.join(folder, "README.md"))

        return push_saved_folder(
            save,
            repo_id,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
            commit_description=commit_description,
        )


def register_pipeline() -> None:
    """Make `pipeline("video-moment-retrieval", model=...)` known to transformers."""
    if TASK not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            TASK, pipeline_class=VideoMomentRetrievalPipeline, pt_model=AutoModel, type="multimodal"
        )


def _is_several_videos(video: Any) -> bool:
    """Whether a list holds videos; a list of pictures is one video."""
    if not isinstance(video, (list, tuple)) or not video:
        return False
    return not (hasattr(video[0], "convert") or getattr(video[0], "ndim", None) == 3)


def _shows_progress(show_progress: bool | None) -> bool:
    return sys.stderr.isatty() if show_progress is None else show_progress


__all__ = ["VideoMomentRetrievalPipeline", "register_pipeline"]
