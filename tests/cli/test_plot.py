from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from tests.support.runs import annotation_rows, prediction_rows, write_annotations, write_run
from tests.support.videos import gray_frames, write_video
from videolights_hf.cli.main import PLOTS, app
from videolights_hf.cli.runs import parse_runs
from videolights_hf.demo.bundled import demo_videos
from videolights_hf.metrics import evaluate_predictions, write_predictions

ROWS = annotation_rows()
runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs and their annotations."""
    root = tmp_path_factory.mktemp("plots")
    write_annotations(root / "truth.jsonl", ROWS)
    write_run(root / "good", ROWS)
    write_run(root / "bad", ROWS, shift=4.0)
    return root


def run(*arguments):
    result = runner.invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result


def refusal(*arguments):
    result = runner.invoke(app, list(map(str, arguments)))
    assert result.exit_code != 0
    return " ".join(result.output.split())


def is_picture(path):
    return path.read_bytes()[:4] in (b"\x89PNG", b"%PDF")


@pytest.mark.parametrize("command", [command.__name__ for command in PLOTS])
def test_every_plot_has_help_with_an_example(command):
    result = run("plot", command, "--help")
    assert "Example" in result.output
    assert result.output.count(f"videolights plot {command} ") >= 1


@pytest.mark.parametrize("kind", ["predictions", "breakdown"])
def test_pictures_of_several_runs(folder, tmp_path, kind):
    outputs = [tmp_path / "one.png", tmp_path / "deep" / "two.pdf"]
    named = [f"Best={folder / 'good'}", folder / "bad"]
    options = [option for path in outputs for option in ("-o", path)]
    result = run("plot", kind, *named, "--annotations", folder / "truth.jsonl", *options, "--dpi", 50)
    assert all(map(is_picture, outputs))
    assert result.stdout.splitlines() == [f"Wrote {path}" for path in outputs]


def test_pictures_of_one_run(folder, tmp_path):
    run("plot", "training", folder / "good", "-o", tmp_path / "curves.png", "--dpi", 50)
    truth = ("--annotations", folder / "truth.jsonl", "--dpi", 50)
    run("plot", "errors", folder / "bad", *truth, "--num", 1, "-o", tmp_path / "errors.png")
    run("plot", "predictions", folder / "bad", *truth, "--qid", 3, "--qid", 5, "-o", tmp_path / "predictions.png")
    assert all(is_picture(tmp_path / f"{name}.png") for name in ("curves", "errors", "predictions"))


def test_relevance_of_the_bundled_model_on_a_bundled_video(tmp_path):
    video = demo_videos() / "demo_0_00002.mp4"
    truth = demo_videos() / "annotations.jsonl"
    qid = next(row["qid"] for row in map(json.loads, truth.read_text().splitlines()) if row["vid"] == video.stem)
    out = tmp_path / "relevance.png"
    run("plot", "relevance", "demo", "--video", video, "--annotations", truth, "--qid", qid, "-o", out, "--dpi", 50)
    assert is_picture(out)


def test_words_are_the_tokens_of_the_encoder_beside_the_model():
    from videolights_hf.cli.plot_relevance import _words
    from videolights_hf.demo.bundled import demo_checkpoint
    from videolights_hf.inference.processing import VideoLightsProcessor

    folder = str(demo_checkpoint())
    processor = VideoLightsProcessor.from_pretrained(folder)
    assert _words(processor, folder, "a red star", 5) == ["[start]", "a", "red", "star", "[end]"]
    assert _words(processor, folder, "a red star", 7) == []
    assert _words(None, folder, "a red star", 3) == ["a", "red", "star"]


def test_answers_of_predict_are_matched_by_video_and_sentence(folder, tmp_path):
    rows = [row for row in ROWS if row["vid"] == "v1"]
    results = [
        {
            "query": row["query"],
            "moments": [{"start": 0.0, "end": 4.0, "score": 0.5}],
            "saliency": [0.5] * 20,
            "clip_length": 2.0,
            "duration": 40.0,
        }
        for row in rows
    ]
    (tmp_path / "demo.json").write_text(
        json.dumps({"video": "videos/v1.mp4", "model": "demo", "predictions": results})
    )
    options = ("--annotations", folder / "truth.jsonl", "-o", tmp_path / "out.png", "--dpi", 50)
    write_video(tmp_path / "v1.mp4", gray_frames(range(40)), fps=1)
    options = (*options, "--videos", tmp_path)
    run("plot", "predictions", tmp_path / "demo.json", folder / "good", *options, "--qid", rows[0]["qid"])
    assert is_picture(tmp_path / "out.png")
    (tmp_path / "demo.json").write_text(json.dumps({"video": "videos/v9.mp4", "predictions": results}))
    assert "none of its 2 sentences" in refusal("plot", "predictions", tmp_path / "demo.json", *options)


def test_compare_prints_both_and_their_difference(folder, tmp_path):
    arguments = ("compare", folder / "bad", f"new={folder / 'good'}", "--annotations", folder / "truth.jsonl")
    result = run(*arguments, "--json", tmp_path / "out.json", "--plot", tmp_path / "out.pdf", "--resamples", 200)
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["models"] == ["bad", "new"]
    metrics = {row["name"]: row for row in content["metrics"]}
    brief = evaluate_predictions(prediction_rows(ROWS, 4.0), ROWS)["brief"]
    assert round(metrics["MR-full-R1@0.5"]["values"][0], 2) == brief["MR-full-R1@0.5"]
    line = next(line for line in result.output.splitlines() if "MR-full-R1@0.5 " in line)
    assert f"{brief['MR-full-R1@0.5']:.2f}" in line
    assert "*" in line
    assert "MR-short-mAP" in result.output
    assert "independent draws" in " ".join(result.output.split())
    assert is_picture(tmp_path / "out.pdf")


def test_runs_of_one_name_are_seeds(folder):
    result = run(
        "compare", f"A={folder / 'good'}", f"A={folder / 'bad'}", f"B={folder / 'good'}", "--annotations",
        folder / "truth.jsonl", "--resamples", 100,
    )  # fmt: skip
    assert "A (2 runs)" in result.output


def test_the_split_that_a_run_was_evaluated_on_is_read(folder, tmp_path):
    run_folder = write_run(tmp_path / "run", ROWS)
    write_predictions(run_folder / "test_predictions.jsonl", prediction_rows(ROWS, 4.0))
    options = ("--annotations", folder / "truth.jsonl", "--resamples", 100, "--split", "test")
    assert "has no test_predictions.jsonl (it has eval_predictions.jsonl)" in refusal(
        "compare", run_folder, folder / "good", *options
    )
    result = run("compare", run_folder, f"same={run_folder / 'test_predictions.jsonl'}", *options)
    assert "+0.00 [+0.00, +0.00]" in result.output


def test_a_folder_of_domains_is_read_as_one_run(folder, tmp_path):
    for name, rows in (("BK", ROWS[:6]), ("DS", ROWS[6:])):
        write_run(tmp_path / "domains" / name, rows)
    options = ("--annotations", folder / "truth.jsonl", "--resamples", 100)
    assert "has no prediction" not in run("compare", tmp_path / "domains", folder / "good", *options).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plot", "breakdown", "good", "-o", "x.txt", "--annotations", "truth.jsonl"), "choose one of .jpg, .pdf"),
        (("plot", "breakdown", "good", "-o", "x.png"), "one of --annotations FILE and --data DATASET"),
        (("plot", "training", "nowhere", "-o", "x.png"), "There is no run nowhere"),
        (("plot", "training", "truth.jsonl", "-o", "x.png"), "cannot be read"),
        (("plot", "predictions", "A=good", "A=bad", "-o", "x.png", "--annotations", "truth.jsonl"), "names two runs"),
        (
            ("plot", "predictions", "good", "-o", "x.png", "--annotations", "truth.jsonl", "--qid", "z"),
            "has the qid z",
        ),
        (("plot", "relevance", "demo", "-o", "x.png"), "--data, or a file by --video"),
        (("plot", "relevance", "demo", "-o", "x.png", "--video", "v.mp4"), "--query, or --annotations"),
        (("compare", "good", "--annotations", "truth.jsonl"), "at least two models"),
        (("compare", "good", "empty", "--annotations", "truth.jsonl"), "videolights evaluate empty"),
    ],
)
def test_what_is_missing_is_said_in_one_line(folder, monkeypatch, arguments, message):
    (folder / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    assert message in refusal(*arguments)


def test_without_matplotlib_the_extra_is_named_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert refusal("plot", "training", "nowhere", "-o", "x.png") == (
        'Error: Pictures need matplotlib: pip install "videolights-hf[viz]".'
    )


def test_runs_without_a_name_are_called_by_what_tells_them_apart(tmp_path):
    paths = [tmp_path / name for name in ("a/seed1", "b/seed1", "c")]
    for path in paths:
        path.mkdir(parents=True)
    file = write_run(tmp_path / "d", ROWS) / "eval_predictions.jsonl"
    assert list(parse_runs([*map(str, paths), str(file)])) == ["a/seed1", "b/seed1", "c", "d"]
    assert parse_runs([f"X={paths[0]}", f"X={paths[1]}"]) == {"X": [str(paths[0]), str(paths[1])]}
