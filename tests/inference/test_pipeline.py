from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, pipeline

from tests.support.tiny_backbones import make_tiny_clip
from tests.support.videos import gray_frames, write_video
from videolights_hf import (
    VideoFeatures,
    VideoLightsConfig,
    VideoLightsForMomentRetrieval,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)

MAX_CLIPS = 10
CLIP = 2.0
SENTENCES = ["a red square moves", "a blue circle"]


def make_model(**overrides):
    settings = {
        "video_backbones": [["clip", 24]],
        "text_backbones": [["clip", 32]],
        "max_video_length": MAX_CLIPS,
        "clip_length": CLIP,
        "hidden_size": 16,
        "num_attention_heads": 4,
        "intermediate_size": 24,
    }
    torch.manual_seed(0)
    return VideoLightsForMomentRetrieval(VideoLightsConfig(**{**settings, **overrides})).eval()


def make_pipeline(model=None, **kwargs):
    model = model or make_model()
    processor = VideoLightsProcessor.from_config(model.config, backbone_checkpoints={})
    processor.set_backbone(make_tiny_clip())
    return VideoMomentRetrievalPipeline(model, processor, device="cpu", **kwargs)


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    make_pipeline().save_pretrained(folder)
    return folder


def make_video(path, seconds):
    return write_video(path, gray_frames(np.arange(10 * seconds) * 7 % 240), 10)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "video.mp4", 16)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    """Four times as long as the model takes."""
    return make_video(tmp_path_factory.mktemp("videos") / "long.mp4", int(4 * MAX_CLIPS * CLIP))


def random_features(num_clips, duration=None, seed=0):
    features = np.random.default_rng(seed).normal(size=(num_clips, 24)).astype(np.float32)
    return VideoFeatures({"clip": features}, duration=duration or num_clips * CLIP, clip_length=CLIP)


def assert_same(found, expected):
    assert found["query"] == expected["query"]
    np.testing.assert_allclose(found["saliency"], expected["saliency"], atol=1e-5)
    values = [[list(moment.values()) for moment in result["moments"]] for result in (found, expected)]
    np.testing.assert_allclose(*values, atol=2e-4)


# Results


def test_one_sentence_gives_one_result(pipe, video):
    result = pipe(video, SENTENCES[0])
    assert set(result) == {"query", "moments", "saliency", "clip_length", "duration"}
    assert result["query"] == SENTENCES[0]
    assert result["duration"] == pytest.approx(16)
    assert result["clip_length"] == CLIP
    assert len(result["saliency"]) == 8
    assert 1 <= len(result["moments"]) <= 5
    for moment in result["moments"]:
        assert 0 <= moment["start"] < moment["end"] <= 16
        assert 0 <= moment["score"] <= 1
    scores = [moment["score"] for moment in result["moments"]]
    assert scores == sorted(scores, reverse=True)


def test_results_hold_plain_numbers(pipe, video):
    result = pipe(video, SENTENCES[0])
    assert {type(score) for score in result["saliency"]} == {float}
    assert {type(value) for moment in result["moments"] for value in moment.values()} == {float}


def test_several_sentences_give_a_list_in_order(pipe, video):
    results = pipe(video, SENTENCES)
    assert [result["query"] for result in results] == SENTENCES
    for result in results:
        assert_same(result, pipe(video, result["query"]))
    assert not np.allclose(results[0]["saliency"], results[1]["saliency"])


def test_a_list_of_one_sentence_gives_a_list(pipe, video):
    assert isinstance(pipe(video, SENTENCES[:1]), list)


def test_a_short_video_gives_exactly_the_plain_prediction(pipe):
    features = random_features(MAX_CLIPS, duration=19.3)
    inputs = pipe.processor(videos=features, text=SENTENCES[0])
    with torch.no_grad():
        outputs = pipe.model(**inputs)
    (plain,) = pipe.processor.post_process_moment_retrieval(outputs, 19.3)
    result = pipe(features, SENTENCES[0], top_k=None, nms_threshold=None)
    assert result["moments"] == plain["moments"]
    assert result["saliency"] == plain["saliency"]


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_very_short_video_works(pipe, tmp_path, seconds):
    result = pipe(make_video(tmp_path / "short.mp4", seconds), SENTENCES[0])
    assert len(result["saliency"]) == 2
    assert result["clip_length"] == pytest.approx(seconds / 2)
    assert all(moment["end"] <= seconds for moment in result["moments"])


def test_a_video_four_times_as_long_as_the_model_takes(pipe, long_video):
    result = pipe(long_video, SENTENCES[0])
    assert result["duration"] == pytest.approx(80)
    assert len(result["saliency"]) == 40
    assert np.isfinite(result["saliency"]).all()
    assert all(0 <= moment["start"] < moment["end"] <= 80 for moment in result["moments"])


class Spotter(torch.nn.Module):
    """In place of the network: says that the moment is where the first feature is high."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.batch_sizes = []
        self.window_lengths = set()
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    device = property(lambda self: self.anchor.device)
    dtype = property(lambda self: self.anchor.dtype)

    def forward(self, video_features, **_):
        self.batch_sizes.append(len(video_features))
        self.window_lengths.add(video_features.shape[1])
        hot = video_features[..., 0] > 0.5
        spans, logits = [], []
        for row in hot:
            clips = row.nonzero().flatten().tolist()
            first, last = (clips[0], clips[-1] + 1) if clips else (0, 1)
            spans.append([[(first + last) / 2 / len(row), (last - first) / len(row)]])
            logits.append([[5.0, 0.0] if clips else [-5.0, 0.0]])
        return SimpleOutput(logits=torch.tensor(logits), pred_spans=torch.tensor(spans), saliency_scores=hot.float())


class SimpleOutput(SimpleNamespace):
    def __getitem__(self, name):
        return getattr(self, name)


@pytest.mark.parametrize("clips", [(2, 5), (13, 16), (8, 14), (27, 38), (3, 37), (0, 40), (39, 40)])
@pytest.mark.parametrize("stride", [None, 3, 8])
def test_the_moment_of_a_long_video_is_found_where_it_is(clips, stride):
    config = make_model().config
    spotter = Spotter(config)
    finder = make_pipeline(spotter)
    features = np.full((40, 24), -1.0, dtype=np.float32)
    features[:, 0] = -10
    features[slice(*clips), 0] = 100
    video = VideoFeatures({"clip": features}, duration=79.5, clip_length=CLIP)
    result = finder(video, SENTENCES[0], window_stride=stride, score_threshold=0.5)
    expected = [(clips[0] * CLIP, min(clips[1] * CLIP, 79.5))]
    assert [(moment["start"], moment["end"]) for moment in result["moments"]] == expected
    np.testing.assert_allclose(result["saliency"], features[:, 0] > 0, atol=1e-6)
    assert spotter.window_lengths == {MAX_CLIPS}


# The video is encoded once


def count_frames(finder, monkeypatch):
    backbone = finder.processor.get_backbone("clip")
    encode, seen = backbone.encode_frames, []
    monkeypatch.setattr(backbone, "encode_frames", lambda frames: seen.append(len(frames)) or encode(frames))
    return seen


@pytest.mark.parametrize("num_sentences", [1, 7])
def test_the_video_is_encoded_once_for_all_sentences(pipe, long_video, monkeypatch, num_sentences):
    seen = count_frames(pipe, monkeypatch)
    pipe(long_video, [f"sentence {index}" for index in range(num_sentences)])
    assert sum(seen) == 40


def test_features_computed_before_are_not_computed_again(pipe, video, monkeypatch):
    features = pipe.processor.encode_video(video)
    seen = count_frames(pipe, monkeypatch)
    assert_same(pipe(features, SENTENCES[0]), pipe(features, SENTENCES[0]))
    assert seen == []


def test_a_bad_sentence_fails_before_the_video_is_encoded(pipe, video, monkeypatch):
    seen = count_frames(pipe, monkeypatch)
    with pytest.raises(ValueError, match="entence 1"):
        pipe(video, ["a dog", "  "])
    assert seen == []


# Kinds of input


def test_a_video_may_be_a_path_a_file_an_array_or_pictures(pipe, tmp_path):
    frames = gray_frames(np.arange(60) * 4)
    path = write_video(tmp_path / "video.mkv", frames, 10, codec="ffv1")
    expected = pipe(str(path), SENTENCES[0])
    with path.open("rb") as file:
        assert_same(pipe(file, SENTENCES[0]), expected)
    from_array = pipe(frames, SENTENCES[0], fps=10)
    assert_same(pipe([Image.fromarray(frame) for frame in frames], SENTENCES[0], fps=10), from_array)
    assert from_array["duration"] == expected["duration"]
    np.testing.assert_allclose(from_array["saliency"], expected["saliency"], atol=0.05)


def test_several_videos_give_a_list(pipe, video):
    other = random_features(6)
    results = pipe([video, other], SENTENCES)
    assert len(results) == 2
    for found, one in zip(results, [video, other], strict=True):
        for result, expected in zip(found, pipe(one, SENTENCES), strict=True):
            assert_same(result, expected)
    assert_same(pipe([video, other], SENTENCES[0])[1], results[1][0])


def test_audio_features_are_used_and_cut_into_windows():
    finder = make_pipeline(make_model(audio_dim=3))
    long = random_features(25)
    audio = np.random.default_rng(1).normal(size=(25, 3)).astype(np.float32)
    first, second = (finder(long, SENTENCES[0], audio=track)["saliency"] for track in (audio, -audio))
    assert len(first) == 25
    assert not np.allclose(first, second)
    both = finder([long, long], SENTENCES[0], audio=[audio, -audio])
    np.testing.assert_allclose(both[1]["saliency"], second, atol=1e-5)
    with pytest.raises(ValueError, match="2 videos came with 1"):
        finder([long, long], SENTENCES[0], audio=[audio])


# Settings


def test_top_k_and_threshold_leave_moments_out(pipe, video):
    everything = pipe(video, SENTENCES[0], top_k=None, nms_threshold=None)["moments"]
    assert len(everything) == pipe.model.config.num_queries
    assert pipe(video, SENTENCES[0], top_k=2, nms_threshold=None)["moments"] == everything[:2]
    bar = everything[3]["score"]
    kept = pipe(video, SENTENCES[0], top_k=None, nms_threshold=None, score_threshold=bar)["moments"]
    assert kept == [moment for moment in everything if moment["score"] >= bar]


def test_nms_leaves_no_overlap_above_its_threshold(pipe, video):
    moments = pipe(video, SENTENCES[0], top_k=None, nms_threshold=0.0)["moments"]
    ordered = sorted(moments, key=lambda moment: moment["start"])
    assert all(left["end"] <= right["start"] for left, right in itertools.pairwise(ordered))


def test_times_are_rounded_to_clips_unless_asked(pipe, video):
    rounded = pipe(video, SENTENCES[0])["moments"]
    assert all(moment[name] % CLIP == 0 for moment in rounded for name in ("start", "end"))
    exact = pipe(video, SENTENCES[0], round_to_clips=False)["moments"]
    assert any(moment[name] % CLIP for moment in exact for name in ("start", "end"))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_changes_no_result(pipe, batch_size):
    long = random_features(33)
    for found, expected in zip(pipe(long, SENTENCES, batch_size=batch_size), pipe(long, SENTENCES), strict=True):
        assert_same(found, expected)


def test_batch_size_bounds_what_runs_at_once():
    spotter = Spotter(make_model().config)
    make_pipeline(spotter, batch_size=4)(random_features(40), SENTENCES)
    assert spotter.batch_sizes == [4, 4, 4, 2]


def test_settings_of_the_pipeline_are_defaults_of_the_calls(video):
    finder = make_pipeline(top_k=2, nms_threshold=None)
    assert len(finder(video, SENTENCES[0])["moments"]) == 2
    assert len(finder(video, SENTENCES[0], top_k=3)["moments"]) == 3


def test_progress_is_shown_when_asked(pipe, video, capfd):
    pipe(video, SENTENCES[0], show_progress=True)
    shown = capfd.readouterr().err
    assert "Encoding video" in shown
    assert "Finding moments" in shown
    pipe(video, SENTENCES[0])
    assert capfd.readouterr().err == ""


def test_a_model_for_highlights_alone_gives_no_moments(video):
    result = make_pipeline(make_model(highlight_only=True))(video, SENTENCES[0])
    assert result["moments"] == []
    assert len(result["saliency"]) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 0}, "top_k"),
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"nms_threshold": -0.1}, "nms_threshold"),
        ({"batch_size": 0}, "batch_size"),
        ({"window_stride": 0}, "stride"),
        ({"window_stride": MAX_CLIPS + 1}, "stride"),
    ],
)
def test_settings_that_make_no_sense_are_refused(pipe, settings, message):
    with pytest.raises(ValueError, match=message):
        pipe(random_features(12), SENTENCES[0], **settings)


def test_an_unknown_setting_is_refused(pipe, video):
    with pytest.raises(TypeError, match="no argument topk"):
        pipe(video, SENTENCES[0], topk=3)


# Bad input


def test_no_sentences_are_refused(pipe, video):
    with pytest.raises(ValueError, match="at least one sentence"):
        pipe(video, [])


def test_features_without_a_duration_are_refused(pipe):
    with pytest.raises(ValueError, match="VideoFeatures"):
        pipe(random_features(4).features, SENTENCES[0])


def test_a_missing_file_is_named(pipe):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pipe("nowhere.mp4", SENTENCES[0])


def test_a_processor_that_does_not_fit_the_model_is_refused():
    model = make_model()
    processor = VideoLightsProcessor.from_config(make_model(clip_length=1.0, text_backbones=[["clip", 48]]).config)
    with pytest.raises(ValueError, match=r"clip_length.*does not|does not.*clip_length"):
        VideoMomentRetrievalPipeline(model, processor, device="cpu")


def test_a_missing_processor_is_said():
    with pytest.raises(ValueError, match="needs the model's processor"):
        VideoMomentRetrievalPipeline(make_model(), device="cpu")


# Saving, loading, precision


def test_a_saved_pipeline_loads_by_its_task_alone(checkpoint, video):
    loaded = pipeline("video-moment-retrieval", model=str(checkpoint), device="cpu")
    assert isinstance(loaded, VideoMomentRetrievalPipeline)
    assert isinstance(loaded.processor, VideoLightsProcessor)
    assert_same(loaded(video, SENTENCES[0]), make_pipeline()(video, SENTENCES[0]))


def test_precision_asked_for_is_that_of_model_and_backbones(checkpoint, video):
    loaded = pipeline("video-moment-retrieval", model=str(checkpoint), device="cpu", dtype=torch.bfloat16)
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.processor.get_backbone("clip").model.dtype == torch.bfloat16
    result = loaded(video, SENTENCES[0])
    np.testing.assert_allclose(result["saliency"], make_pipeline()(video, SENTENCES[0])["saliency"], atol=0.2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_is_that_of_model_and_backbones(checkpoint, video):
    loaded = pipeline("video-moment-retrieval", model=str(checkpoint), device="cuda")
    assert loaded.processor.get_backbone("clip").model.device.type == "cuda"
    result = loaded(video, SENTENCES[0])
    np.testing.assert_allclose(result["saliency"], make_pipeline()(video, SENTENCES[0])["saliency"], atol=1e-2)


def test_a_saved_pipeline_runs_where_the_package_is_not_installed(checkpoint, video, tmp_path):
    script = textwrap.dedent(
        f"""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "videolights_hf":
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Absent())
        from transformers import pipeline

        finder = pipeline(
            "video-moment-retrieval", model={str(checkpoint)!r}, trust_remote_code=True, device="cpu"
        )
        features = finder.processor.encode_video({str(video)!r})
        assert finder(features, "a dog") == finder({str(video)!r}, "a dog")
        print(len(finder(features, "a dog")["saliency"]))
        """
    )
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "8"


# Broken checkpoints


def broken_copy(checkpoint, folder, change):
    """A copy of a checkpoint with its weights changed."""
    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def without_half(weights):
    return dict(list(weights.items())[::2])


def not_a_number(weights):
    return {name: value * float("nan") for name, value in weights.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda weights: {}, "lacks"), (without_half, "lacks"), (not_a_number, "holds NaN or infinity")],
    ids=["no weights", "half the weights", "NaN"],
)
def test_weights_that_are_not_there_are_not_made_up(checkpoint, tmp_path, change, message):
    folder = broken_copy(checkpoint, tmp_path / "broken", change)
    for load in (VideoMomentRetrievalPipeline, VideoLightsForMomentRetrieval, AutoModel):
        with pytest.raises(OSError, match=message):
            load.from_pretrained(str(folder))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json|Unrecognized"),
        ("config.json", "[]", "config.json"),
        ("config.json", '{"model_type": "clip"}', "type 'clip', which finds no moments"),
        ("config.json", '{"model_type": "videolights", "num_projection_layers": 100000000}', "num_projection_layers"),
        ("config.json", '{"model_type": "videolights", "num_labels": 1000000000}', "num_labels"),
        ("processor_config.json", None, "holds no processor|processor"),
        ("processor_config.json", "{}", "holds no processor|processor"),
        ("processor_config.json", '{"clip_length": null}', r"processor_config\.json is damaged"),
    ],
)
def test_broken_settings_end_in_one_line(checkpoint, tmp_path, file, content, message):
    folder = tmp_path / "broken"
    shutil.copytree(checkpoint, folder)
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises((OSError, ValueError), match=message):
        VideoMomentRetrievalPipeline.from_pretrained(folder, device="cpu")


def test_the_typed_door_gives_what_transformers_gives(checkpoint, video):
    loaded = VideoMomentRetrievalPipeline.from_pretrained(checkpoint, device="cpu")
    assert_same(loaded(video, SENTENCES[0]), pipeline("video-moment-retrieval", str(checkpoint))(video, SENTENCES[0]))
    assert loaded.processor.get_backbone("clip").model.dtype == torch.float32
    for device in ("nowhere", "meta"):
        with pytest.raises(ValueError, match=device):
            VideoMomentRetrievalPipeline.from_pretrained(checkpoint, device=device)


def test_outputs_that_are_no_numbers_are_refused(video):
    finder = make_pipeline()
    torch.nn.init.constant_(next(finder.model.parameters()), float("nan"))
    with pytest.raises(ValueError, match="NaN or infinite"):
        finder(video, SENTENCES[0])
