from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import warnings
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from videolights_hf.cli.main import COMMANDS, app
from videolights_hf.cli.terminal import EXTRA_OF_MODULE, ReportingGroup, describe
from videolights_hf.common.json_lines import FileProblemsError

NAMES = [command.__name__.replace("_", "-") for command in COMMANDS]

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def failing_app(error=None, warning=None):
    """A command line of the same kind, whose only command fails or warns."""
    failing = typer.Typer(cls=ReportingGroup, pretty_exceptions_enable=False)

    @failing.callback()
    def options(debug: bool = False) -> None:
        pass

    @failing.command()
    def run() -> None:
        if warning is not None:
            warnings.warn(warning, stacklevel=1)
        if error is not None:
            raise error

    return failing


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_names_the_commands(arguments):
    result = runner.invoke(app, arguments)
    for command in NAMES:
        assert f" {command} " in result.output


@pytest.mark.parametrize("command", NAMES)
def test_every_command_has_help_with_an_example(command):
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert result.output.count(f"videolights {command} ") >= 2  # usage and example


def test_version_is_that_of_the_package():
    assert runner.invoke(app, ["--version"]).output.strip() == f"videolights-hf {version('videolights-hf')}"


def test_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "videolights_hf", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("videolights-hf ")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from videolights_hf.cli.main import app; "
        "print({'torch', 'transformers', 'numpy', 'matplotlib', 'av', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize(
    "error", [ValueError("odd\n value"), FileNotFoundError("odd  value"), ImportError("odd value")]
)
def test_an_expected_error_is_one_line(error):
    result = runner.invoke(failing_app(error), ["run"])
    assert result.exit_code == 1
    assert result.stderr == "Error: odd value\n"


def test_a_file_error_names_the_file_without_a_number():
    result = runner.invoke(failing_app(FileNotFoundError(2, "No such file", "a.mp4")), ["run"])
    assert result.stderr == "Error: No such file: a.mp4\n"


def test_debug_shows_the_error_itself():
    error = ValueError("odd value")
    assert runner.invoke(failing_app(error), ["--debug", "run"]).exception is error


def test_an_unexpected_error_is_one_line_that_says_so():
    result = runner.invoke(failing_app(ZeroDivisionError("a\nb")), ["run"])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: ZeroDivisionError: a b. A file is damaged, or this is a fault of the program"
    )
    assert result.stderr.count("\n") == 1


def test_a_connection_that_fails_is_one_line():
    # As httpx names it, which is no OSError.
    error = type("ConnectError", (type("HTTPError", (Exception,), {}),), {})("Name or service not known")
    result = runner.invoke(failing_app(error), ["run"])
    assert (
        result.stderr
        == "Error: The connection failed (Name or service not known). Check it, and repeat the command.\n"
    )


def test_running_out_of_memory_says_what_to_do():
    result = runner.invoke(failing_app(MemoryError()), ["run"])
    assert result.stderr == "Error: Out of memory. Use smaller files or batches.\n"


def test_an_interruption_is_one_line():
    result = runner.invoke(failing_app(KeyboardInterrupt()), ["run"])
    assert result.exit_code == 130
    assert result.stderr == "Stopped: interrupted by the keyboard.\n"


def test_each_problem_of_a_file_is_a_line():
    result = runner.invoke(failing_app(FileProblemsError([f"a.jsonl:{n}: wrong" for n in range(1, 13)])), ["run"])
    lines = result.stderr.splitlines()
    assert lines[0] == "Error: a.jsonl:1: wrong"
    assert lines[-2:] == ["Error: a.jsonl:10: wrong", "Error: ... and 2 more"]
    one = runner.invoke(failing_app(FileProblemsError(["a.jsonl:1: wrong"])), ["run"])
    assert one.stderr == "Error: a.jsonl:1: wrong\n"


def test_what_the_package_logs_is_printed_line_by_line():
    app_ = typer.Typer(cls=ReportingGroup)
    app_.callback()(lambda debug=False: None)

    @app_.command()
    def run() -> None:
        logging.getLogger("videolights_hf.data.build").warning("two files:\n  a\n  b")
        logging.getLogger("videolights_hf.data.build").info("quiet")

    assert runner.invoke(app_, ["run"]).stderr == "Warning: two files:\nWarning: a\nWarning: b\n"


def test_a_console_that_cannot_encode_a_message_shows_question_marks():
    code = (
        "import typer; from videolights_hf.cli.terminal import errors_as_lines\n"
        "with errors_as_lines():\n"
        "    print('Wrote \\u65e5\\udcff.json')\n"
        "    raise ValueError('\\u65e5 is odd')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.stdout.split() == [b"Wrote", b"??.json"]
    assert done.stderr.split() == [b"Error:", b"?", b"is", b"odd"]
    assert done.returncode == 1


def test_a_warning_is_one_line():
    result = runner.invoke(failing_app(warning="a long\nsentence"), ["run"])
    assert result.exit_code == 0
    assert result.stderr == "Warning: a long sentence\n"


def test_warnings_for_programmers_are_left_out():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = runner.invoke(failing_app(warning=DeprecationWarning("old")), ["run"])
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("module", "extra"),
    [("datasets", "train"), ("yaml", "train"), ("av.codec", "video"), ("matplotlib", "viz"), ("gradio", "app")],
)
def test_a_missing_third_party_is_answered_with_its_extra(module, extra):
    result = runner.invoke(failing_app(ModuleNotFoundError(f"No module named {module!r}", name=module)), ["run"])
    assert result.exit_code == 1
    assert result.stderr == f'Error: This needs {module.split(".")[0]}: pip install "videolights-hf[{extra}]"\n'


def test_every_third_party_of_an_extra_is_known_to_messages():
    modules = {"pyyaml": "yaml"}
    for requirement in requires("videolights-hf"):
        name = re.match(r"[\w-]+", requirement)[0]
        extra = re.search(r"extra == .(train|video|viz|onnx|serve|app)\b", requirement)
        if extra and name not in ("pillow", "videolights-hf"):
            assert EXTRA_OF_MODULE[modules.get(name, name)] == extra[1]


def test_an_error_without_words_is_described_by_its_kind():
    assert describe(ValueError()) == "ValueError"


@pytest.fixture
def conversions(monkeypatch):
    """Calls of the conversion, by name."""
    from videolights_hf.convert import checkpoints as conversion

    calls = []
    for name in ("convert_checkpoint", "convert_published_checkpoint", "convert_to_release"):
        monkeypatch.setattr(
            conversion, name, lambda *arguments, name=name, **named: calls.append((name, *arguments, *named.values()))
        )
    return calls


def test_convert_makes_a_folder_of_a_checkpoint(conversions, tmp_path):
    source, target = tmp_path / "model_best.ckpt", tmp_path / "model"
    result = runner.invoke(app, ["convert", str(source), str(target)])
    assert result.exit_code == 0, result.output
    assert conversions == [("convert_checkpoint", str(source), target, None, None, None)]
    assert str(target) in result.stdout.replace("\n", "")


def test_convert_passes_the_backbones_on_in_order(conversions, tmp_path):
    options = ["--video-backbone", "slowfast=2304", "--video-backbone", "clip=512", "--text-backbone", "clip=512"]
    result = runner.invoke(app, ["convert", "a.ckpt", str(tmp_path), *options])
    assert result.exit_code == 0, result.output
    assert conversions[0][3:] == ([["slowfast", 2304], ["clip", 512]], [["clip", 512]], None)


def test_convert_takes_the_name_of_a_published_checkpoint(conversions, tmp_path):
    name = "qvhighlights/videolights-b-pt"
    arguments = ["convert", name, str(tmp_path), "--file", "down.load", "--backbone", "clip=org/clip"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert conversions == [("convert_published_checkpoint", name, tmp_path, Path("down.load"), {"clip": "org/clip"})]


def test_convert_refuses_a_file_without_the_name_that_it_is_of(conversions, tmp_path):
    result = runner.invoke(app, ["convert", "a.ckpt", str(tmp_path), "--file", "b.ckpt"])
    assert result.exit_code == 2
    assert "not the name of a published checkpoint" in result.stderr.replace("\n", " ")
    assert conversions == []


def test_convert_goes_back_with_reverse(conversions, tmp_path):
    source, target = tmp_path / "model", tmp_path / "model.ckpt"
    result = runner.invoke(app, ["convert", "--reverse", str(source), str(target)])
    assert result.exit_code == 0, result.output
    assert conversions == [("convert_to_release", str(source), target)]


@pytest.mark.parametrize("backbone", ["clip", "clip=", "=512", "clip=0", "clip=-2", "clip=1.5"])
def test_convert_refuses_a_backbone_without_name_or_width(conversions, backbone):
    result = runner.invoke(app, ["convert", "a.ckpt", "b", "--video-backbone", backbone])
    assert result.exit_code == 2
    assert "NAME=WIDTH" in result.stderr
    assert conversions == []


def test_convert_refuses_backbones_for_a_model_that_knows_its_own(conversions):
    result = runner.invoke(app, ["convert", "--reverse", "a", "b.ckpt", "--text-backbone", "clip=512"])
    assert result.exit_code == 2
    assert "--text-backbone" in result.stderr
    assert conversions == []


def test_convert_says_that_a_checkpoint_is_missing(tmp_path):
    result = runner.invoke(app, ["convert", str(tmp_path / "nothing.ckpt"), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "nothing.ckpt" in result.stderr
    assert not (tmp_path / "out").exists()


def test_convert_there_and_back_keeps_the_weights(tmp_path):
    import torch

    from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval

    config = VideoLightsConfig(
        video_backbones=[["clip", 8]], text_backbones=[["clip", 8]], hidden_size=16, num_attention_heads=4
    )
    torch.manual_seed(0)
    model = VideoLightsForMomentRetrieval(config)
    model.save_pretrained(tmp_path / "model")
    back = ["--video-backbone", "clip=8", "--text-backbone", "clip=8"]
    for arguments in (["--reverse", "model", "model.ckpt"], ["model.ckpt", "again", *back]):
        paths = [str(tmp_path / name) if not name.startswith("-") and "=" not in name else name for name in arguments]
        result = runner.invoke(app, ["convert", *paths])
        assert result.exit_code == 0, result.output
    again = VideoLightsForMomentRetrieval.from_pretrained(tmp_path / "again")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize(
    ("spoil", "message"), [("config", "config.json of"), ("list", "config.json"), ("weights", "lacks 1 weight")]
)
def test_convert_back_refuses_a_damaged_model(tmp_path, spoil, message):
    """Weights that are missing would be made up, and a configuration that is no object ended in a traceback."""
    from safetensors.torch import load_file, save_file

    from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval

    config = VideoLightsConfig(
        video_backbones=[["clip", 8]], text_backbones=[["clip", 8]], hidden_size=16, num_attention_heads=4
    )
    folder = tmp_path / "model"
    VideoLightsForMomentRetrieval(config).save_pretrained(folder, include_code=False)
    if spoil == "weights":
        weights = load_file(folder / "model.safetensors")
        del weights[min(weights)]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        (folder / "config.json").write_text("-1" if spoil == "config" else "[]")
    result = runner.invoke(app, ["convert", "--reverse", str(folder), str(tmp_path / "model.ckpt")])
    assert result.exit_code == 1
    assert message in result.stderr
    assert "fault of the program" not in result.stderr
    assert not (tmp_path / "model.ckpt").exists()
