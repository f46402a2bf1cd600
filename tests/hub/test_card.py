"""Cards say what is known of a model, and nothing else."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from huggingface_hub import ModelCard

from tests.support.factories import tiny_model
from tests.support.remote import run_without_package
from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf import VideoLightsConfig, VideoLightsProcessor, VideoMomentRetrievalPipeline
from videolights_hf.hub.card import CardSettings, ReportedMetric, TrainingRecord, make_model_card

RECORD = TrainingRecord(
    dataset="qvhighlights",
    train_split="train",
    eval_split="val",
    num_train_queries=7218,
    num_eval_queries=1550,
    recipe="qvhighlights/videolights-b",
    changed_settings={"num_train_epochs": 6},
    seed=2018,
    seconds=2220.0,
    hardware="two CPU cores",
    versions={"torch": "2.13.0"},
    date="2026-11-25",
    metrics=(ReportedMetric("MR-full-mAP", float(np.float32(41.75))), ReportedMetric("HL-min-VeryGood-mAP", 39.5)),
    details_file="eval_metrics.json",
)
CHECKPOINTS = {"slowfast": "org/slowfast", "clip": "openai/clip-vit-base-patch32", "blip2": "org/blip2"}


def card(**arguments) -> ModelCard:
    arguments = {"record": RECORD, "backbone_checkpoints": CHECKPOINTS, **arguments}
    # As the Hub will read it.
    return ModelCard(str(make_model_card(VideoLightsConfig(), "someone/finder", **arguments)))


def example(text: str) -> str:
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


def test_what_happened_is_said():
    text = card().text
    for fact in (
        "QVHighlights, split `train` (7,218 queries)",
        "Evaluated on: `val` (1,550 queries)",
        "`qvhighlights/videolights-b`",
        "| `num_train_epochs` | `6` |",
        "Seed: 2018",
        "two CPU cores",
        "37.0 min",
        "torch 2.13.0",
        "| MR-full-mAP | 41.75 |",
        "[`eval_metrics.json`](./eval_metrics.json)",
        "clamped to 0-150 s",
        "`openai/clip-vit-base-patch32`",
        "QVHighlights annotations): CC BY-NC-SA 4.0",
    ):
        assert fact in text, fact


def test_backbones_are_named_with_their_revision_where_it_is_known():
    record = replace(RECORD, backbone_revisions={"clip": "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"})
    text = card(record=record).text
    assert "clip (512 wide, `openai/clip-vit-base-patch32`, revision `3d74acf9a28c`)" in text
    assert "slowfast (2304 wide, `org/slowfast`)" in text


def test_the_metadata_hold_the_results_as_the_hub_indexes_them():
    data = card(settings=CardSettings(weights_license="apache-2.0", tags=["mine"], benchmark_id="org/bench")).data
    assert data.license == "apache-2.0"
    assert {"moment-retrieval", "videolights", "mine"} <= set(data.tags)
    assert data.datasets == ["org/bench"]
    results = {result.metric_type: result for result in data.eval_results}
    assert results["MR-full-mAP"].metric_value == 41.75
    assert results["MR-full-mAP"].dataset_split == "val"
    assert data.model_name == "finder"


def test_what_is_not_known_is_not_made_up():
    text = str(card(record=None, backbone_checkpoints=None))
    assert "model-index" not in text
    assert "license:" not in text.split("---")[1]
    assert "How these weights were trained was not recorded" in text
    assert "No evaluation was recorded" in text
    assert "no license has been named for these weights" in text
    for leftover in ("None", "More Information Needed", "{{", "unknown"):
        assert leftover not in text, leftover


def test_results_of_others_are_said_to_be_theirs():
    record = TrainingRecord(dataset="qvhighlights", metrics=RECORD.metrics, source="the authors")
    assert "As reported by the authors; not measured again." in card(record=record).text


def test_a_highlight_model_promises_no_moments():
    config = VideoLightsConfig.from_preset("videolights-i3d", "tvsum")
    text = make_model_card(config, "someone/tvsum", record=TrainingRecord(dataset="tvsum", domain="BK")).text
    assert "TVSum (BK)" in text
    assert "finds the moments" not in text
    assert "predicts no moments" in text


def test_records_survive_their_file():
    whole = replace(RECORD, backbone_revisions={"clip": "3d74acf"}, limits=("one",), domain="BK", protocol="released")
    for record in (RECORD, whole):
        assert TrainingRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    broken: list = [{}, [], {"metrics": [{"name": "x"}]}, {"metrics": [], "unheard_of": 1}, {"metrics": 3}]
    broken += [{"metrics": [{"name": "x", "value": value}]} for value in (float("nan"), 10**400, [])]
    fields = {"versions": [], "changed_settings": "x", "dataset": 5, "seed": True, "limits": 3, "seconds": "long"}
    fields["backbone_revisions"] = []
    for content in [*broken, *({"metrics": [], name: value} for name, value in fields.items())]:
        with pytest.raises(ValueError, match="Not a training record"):
            TrainingRecord.from_dict(content)


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_example_runs_as_it_stands(tmp_path, is_whole):
    clip = make_tiny_clip()
    model = tiny_model(video_backbones=[["clip", clip.video_dim]], text_backbones=[["clip", clip.text_dim]])
    processor = VideoLightsProcessor.from_config(model.config)
    processor.set_backbone(clip)
    folder = tmp_path / "saved"
    VideoMomentRetrievalPipeline(model=model, processor=processor).save_pretrained(folder)
    checkpoints = processor.to_dict()["backbone_checkpoints"] if is_whole else None
    text = make_model_card(model.config, str(folder), backbone_checkpoints=checkpoints).text
    assert ("pipeline(" in example(text)) == is_whole
    run_without_package(example(text) + "\nprint(json.dumps({}))\n", folder, tmp_path)
