import gc
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.support.factories import random_inputs
from videolights_hf import (
    MomentDetrForMomentRetrieval,
    VideoLightsForMomentRetrieval,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.cli.main import app
from videolights_hf.deploy import (
    ExportedDetector,
    export_detector,
    export_model,
    exported_pipeline,
    load_graph,
    load_pipeline,
    quantize_graph,
)
from videolights_hf.deploy.graphs import Graph, Traced, write_graph

SENTENCES = ["a red circle", "the sky turns gray and then white again"]
PREDICTIONS = ("logits", "pred_spans", "saliency_scores")


def compare(result, expected, tolerance):
    assert result["query"] == expected["query"]
    assert result["saliency"] == pytest.approx(expected["saliency"], abs=tolerance)
    for name in ("start", "end", "score"):
        found, right = ([moment[name] for moment in one["moments"]] for one in (result, expected))
        assert found == pytest.approx(right, abs=tolerance)


@pytest.mark.slow
def test_the_pipeline_gives_the_same_on_graphs(exported, model_folder, video):
    assert exported.left_in_torch == ["slowfast"]
    sides = {f"{name}/{side}" for name in ("clip", "blip2", "siglip2") for side in ("image", "text")}
    assert set(exported.differences) == {"detector", *sides}
    assert max(exported.differences.values()) < 1e-5
    # Weights of what became a graph stay behind; SlowFast, which did not, comes along.
    assert {path.parent.name for path in exported.folder.rglob("*.safetensors")} == {"slowfast"}

    on_graphs = load_pipeline(exported.folder)
    assert isinstance(on_graphs.model, ExportedDetector)
    expected = VideoMomentRetrievalPipeline.from_pretrained(model_folder, device="cpu")(
        video, SENTENCES, nms_threshold=None
    )
    for batch_size in (1, 16):
        results = on_graphs(video, SENTENCES, nms_threshold=None, batch_size=batch_size)
        assert len(results) == 2
        for result, right in zip(results, expected):
            compare(result, right, 1e-5)


def check_other_lengths(graph, model):
    """Of any number of samples, padded, the graph gives what PyTorch gives for their own clips."""
    for lengths in (((7, 5),), ((1, 1), (6, 2)), ((20, 30), (3, 4), (20, 1), (11, 2), (9, 9))):
        inputs = random_inputs(model.config, lengths)
        with torch.no_grad():
            right = model(**inputs)
        found = graph(**inputs)
        assert set(found) == set(PREDICTIONS)
        valid = inputs["video_attention_mask"].bool()
        for name in PREDICTIONS:
            one, other = found[name], right[name]
            if name == "saliency_scores":
                one, other = one[valid], other[valid]
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="The graph takes text_attention_mask"):
        graph(video_features=inputs["video_features"], text_features=inputs["text_features"])


@pytest.mark.slow
def test_the_detector_takes_any_lengths_padded(exported, model_folder):
    model = VideoLightsForMomentRetrieval.from_pretrained(model_folder)
    check_other_lengths(load_graph(exported.folder / "graphs" / "detector.onnx", threads=1), model)


@pytest.mark.slow
def test_a_detector_alone_as_a_graph_of_pytorch(moment_detr_folder, tmp_path):
    model = MomentDetrForMomentRetrieval.from_pretrained(moment_detr_folder)
    assert export_detector(model, tmp_path / "detector.pt2") < 1e-5
    check_other_lengths(load_graph(tmp_path / "detector.pt2"), model)


@pytest.mark.slow
def test_int8_is_smaller_and_near(exported, tmp_path):
    path = tmp_path / "clip-text.onnx"
    for file in (exported.folder / "graphs").glob("clip-text.onnx*"):
        shutil.copy(file, tmp_path)
    tokens = {"input_ids": torch.arange(8).reshape(2, 4) % 7, "attention_mask": torch.ones(2, 4, dtype=torch.long)}
    right = load_graph(path)(**tokens)["features"]
    before = sum(file.stat().st_size for file in tmp_path.iterdir())
    quantize_graph(path)
    found = load_graph(path)(**tokens)["features"]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < before
    difference = (found - right).abs().max()
    assert 0 < difference < 0.2 * right.abs().max()


@pytest.mark.slow
def test_what_is_damaged_or_asked_for_in_vain_is_said(exported, tmp_path):
    with pytest.raises(ValueError, match="run on the CPU in their own type"):
        load_pipeline(exported.folder, device="cuda")
    with pytest.raises(ValueError, match="hold its backbones"):
        load_pipeline(exported.folder, backbone_checkpoints={"clip": "x"})
    with pytest.raises(FileExistsError, match="is not empty"):
        export_model("nowhere", exported.folder)
    shutil.copytree(exported.folder, tmp_path / "copy")
    (tmp_path / "copy" / "graphs" / "detector.onnx").unlink()
    with pytest.raises(FileNotFoundError, match=r"incomplete: there is no file .*detector\.onnx"):
        exported_pipeline(tmp_path / "copy")
    for content in ("{", "[]", '{"graphs": {}}', "[" * 100_000):
        (tmp_path / "copy" / "export.json").write_text(content)
        with pytest.raises(ValueError, match="is damaged"):
            exported_pipeline(tmp_path / "copy")
    with pytest.raises(FileNotFoundError, match=r"no export: there is no export\.json"):
        exported_pipeline(tmp_path)
    # A name in the notes leads nowhere outside of the folder.
    notes = json.loads((exported.folder / "export.json").read_text())
    notes["graphs"]["detector"] = "../../../etc/passwd"
    (tmp_path / "copy" / "export.json").write_text(json.dumps(notes))
    with pytest.raises(FileNotFoundError, match=r"copy/graphs/passwd"):
        exported_pipeline(tmp_path / "copy")


@pytest.mark.slow
def test_the_pipeline_exports_what_is_not_exported_yet(exported, model_folder, video, monkeypatch):
    folders = []

    def export(model, folder):
        assert model == model_folder
        folders.append(folder)
        shutil.copytree(exported.folder, folder, dirs_exist_ok=True)

    monkeypatch.setattr("videolights_hf.deploy.runner.export_model", export)
    on_graphs = load_pipeline(model_folder, backend="onnx")
    assert isinstance(on_graphs.model, ExportedDetector)
    assert on_graphs(video, SENTENCES) == load_pipeline(exported.folder, backend="onnx")(video, SENTENCES)
    assert len(folders) == 1
    del on_graphs
    gc.collect()
    assert not Path(folders[0]).exists()


def test_a_sample_that_would_fix_an_axis_is_refused(tmp_path):
    traced = Traced(torch.nn.Linear(2, 2), lambda x: {"y": x})
    with pytest.raises(ValueError, match="would be fixed at the length 1"):
        write_graph(traced, {"x": torch.zeros(1, 2)}, {"x": (0,)}, tmp_path / "graph.pt2")


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("content", [b"", b"no graph", b"PK\x03\x04" + bytes(99)])
def test_a_file_that_is_no_graph_is_named(tmp_path, suffix, content):
    path = tmp_path / f"detector{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"The graph .*/detector\{suffix} cannot be loaded .*Export the model again"):
        load_graph(path)


class EchoGraph(Graph):
    """Returns what it is given, unless that is negative."""

    path = Path("echo.onnx")
    inputs = frozenset({"x"})

    def _run(self, tensors):
        if tensors["x"].min() < 0:
            raise RuntimeError("negative\nand more")
        return tensors


def test_a_graph_that_does_not_run_or_lacks_an_output_is_named():
    graph = EchoGraph()
    assert graph(x=torch.ones(2))["x"].tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"The graph echo\.onnx does not run \(negative\): it is damaged"):
        graph(x=-torch.ones(2))
    graph.expected = frozenset({"x", "logits"})
    with pytest.raises(ValueError, match=r"The graph echo\.onnx has no output logits"):
        graph(x=torch.ones(2))


def test_int8_is_for_onnx(tmp_path):
    with pytest.raises(ValueError, match="int8 is for ONNX graphs"):
        export_model("nowhere", tmp_path / "out", "torch", int8=True)


@pytest.mark.slow
def test_the_command_exports_what_predict_runs(moment_detr_folder, tmp_path, video):
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    out = tmp_path / "graphs"
    result = runner.invoke(app, ["export", str(moment_detr_folder), str(out), "--format", "torch"])
    assert result.exit_code == 0, result.output
    assert "graphs/detector.pt2: largest difference of detector from PyTorch" in result.output
    with pytest.raises(ValueError, match="graphs of another format"):
        load_pipeline(out, backend="onnx")
    answers = []
    for model in (moment_detr_folder, out):
        predicted = runner.invoke(app, ["predict", video, SENTENCES[0], "--model", str(model), "--json", "-"])
        assert predicted.exit_code == 0, predicted.output
        answers.append(json.loads(predicted.stdout)["predictions"][0])
    compare(answers[1], answers[0], 1e-5)
    again = runner.invoke(app, ["export", str(moment_detr_folder), str(out)])
    assert again.exit_code == 1
    assert "is not empty" in again.output
