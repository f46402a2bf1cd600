"""The app on the bundled models: the bundled CLIP stands in for the one that is downloaded."""

import pytest

from videolights_hf.app import BUNDLED, ZERO_SHOT_NOTE, Detector
from videolights_hf.demo import demo_checkpoint
from videolights_hf.inference.zero_shot import zero_shot_pipeline


@pytest.fixture(scope="session")
def detectors():
    """The models for uploads and for the bundled videos, loaded once."""
    general = Detector(
        "zero-shot",
        lambda: zero_shot_pipeline(demo_checkpoint() / "backbones" / "clip", clip_length=1.0, device="cpu"),
        ZERO_SHOT_NOTE,
    )
    return general.loaded(), BUNDLED.loaded()
