"""`videolights predict` with the detectors beside VideoLights: with FRA before them, and with sound."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support.factories import TINY
from tests.support.tiny_backbones import make_tiny_clip
from tests.support.videos import gray_frames, write_video
from videolights_hf import (
    MomentDetrForMomentRetrieval,
    QDDetrForMomentRetrieval,
    TRDetrForMomentRetrieval,
    VideoLightsForMomentRetrieval,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.cli.main import app

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
REFINED = {"use_feature_refinement": True, "use_contrastive_alignment": True}


def save_pipeline(folder, detector, fields):
    """A detector of random weights with a CLIP of random weights, as a folder."""
    clip = make_tiny_clip()
    widths = {"video_backbones": [["clip", clip.video_dim]], "text_backbones": [["clip", clip.text_dim]]}
    config = detector.config_class(**{**TINY, **widths, **fields})
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={})
    processor.set_backbone(clip)
    torch.manual_seed(0)
    pipeline = VideoMomentRetrievalPipeline(detector(config), processor, device="cpu")
    pipeline.save_pretrained(folder)
    return pipeline


def test_a_model_for_highlights_alone_needs_no_sentence(tmp_path):
    save_pipeline(tmp_path / "model", VideoLightsForMomentRetrieval, {"highlight_only": True})
    video = write_video(tmp_path / "video.mp4", gray_frames(np.arange(160) * 7 % 240), 10)
    command = ["predict", str(video), "--model", str(tmp_path / "model"), "--device", "cpu"]
    result = runner.invoke(app, [*command, "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    (found,) = json.loads((tmp_path / "out.json").read_text())["predictions"]
    assert found["query"] == "highlights"
    best = max(range(8), key=found["saliency"].__getitem__)
    assert any(moment["start"] <= 2 * best < moment["end"] for moment in found["moments"])


@pytest.mark.parametrize(
    ("detector", "fields"),
    [
        (MomentDetrForMomentRetrieval, {}),
        (QDDetrForMomentRetrieval, REFINED),
        (QDDetrForMomentRetrieval, {"audio_dim": 3}),
        (TRDetrForMomentRetrieval, {}),
        (TRDetrForMomentRetrieval, {**REFINED, "refinement_order": "instead"}),
    ],
    ids=["moment-detr", "qd-detr with FRA", "qd-detr with sound", "tr-detr", "tr-detr, FRA instead"],
)
def test_a_saved_detector_answers(tmp_path, detector, fields):
    pipeline = save_pipeline(tmp_path / "model", detector, fields)
    video = write_video(tmp_path / "video.mp4", gray_frames(np.arange(160) * 7 % 240), 10)
    command = ["predict", str(video), "a dog", "--model", str(tmp_path / "model"), "--device", "cpu"]
    expected_options = {}
    if fields.get("audio_dim"):
        audio = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
        np.savez(tmp_path / "audio.npz", features=audio)
        command += ["--audio", str(tmp_path / "audio.npz")]
        expected_options["audio"] = audio
    result = runner.invoke(app, [*command, "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    (found,) = json.loads((tmp_path / "out.json").read_text())["predictions"]
    assert len(found["saliency"]) == 8
    assert found["moments"]
    expected = pipeline(str(video), "a dog", **expected_options)
    assert [moment["start"] for moment in found["moments"]] == [moment["start"] for moment in expected["moments"]]
    np.testing.assert_allclose(found["saliency"], expected["saliency"], atol=1e-4)
