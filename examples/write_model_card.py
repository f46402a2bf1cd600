"""Write MODEL_CARD.md, the card of the bundled demo checkpoint, from its configuration and what is recorded of it.

python examples/write_model_card.py MODEL_CARD.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videolights_hf import VideoLightsConfig
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.demo import demo_checkpoint
from videolights_hf.hub.card import CardSettings, ReportedMetric, TrainingRecord, make_model_card

EXAMPLE = """\
import videolights_hf.demo as demo
from transformers import pipeline

finder = pipeline("video-moment-retrieval", model=str(demo.demo_checkpoint()))
result = finder(str(demo.demo_videos() / "demo_0_00000.mp4"), "There is a red circle on stripes.")
print(result["moments"], result["saliency"])"""

# What examples/train_demo.py does, and what `python -m benchmarks.demo_world` gives on 50 fresh videos.
RECORD = TrainingRecord(
    dataset="a made-up world of moving shapes",
    train_split="train",
    eval_split="50 freshly rendered videos, 281 queries",
    recipe="examples/train_demo.py",
    seed=0,
    protocol="moments rounded to clips, highlights at rating Very Good; `python -m benchmarks.demo_world` repeats it",
    metrics=(
        ReportedMetric("R1@0.5", 98.9),
        ReportedMetric("R1@0.7", 96.8),
        ReportedMetric("mAP", 93.3),
        ReportedMetric("HIT@1", 100.0),
    ),
    limits=(
        "It knows only its made-up world: one colored shape at a time over a patterned background, in scenes of 3 to 12 s. "
        "On a real video its answers mean nothing.",
        "No model of this package has been trained or scored on features of real videos yet.",
    ),
)


def main(output: Annotated[Path, typer.Argument(help="The card.")]) -> None:
    """Write the card."""
    card = make_model_card(
        VideoLightsConfig.from_pretrained(demo_checkpoint()),
        "videolights-demo",
        record=RECORD,
        backbone_checkpoints={"clip": "backbones/clip"},
        settings=CardSettings(weights_license="apache-2.0"),
        example=EXAMPLE,
    )
    card.save(output)


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
