import errno
import json
import os
import socket
import stat
import threading

import pytest

from videolights_hf.common.files import (
    PARTIAL_SUFFIX,
    check_holds_regular_files,
    parse_json,
    read_json_object,
    remove_leftovers,
    write_json,
    write_text,
    written_aside,
)
from videolights_hf.hub.records import read_record
from videolights_hf.training.checkpoints import check_same_settings, read_loss_totals
from videolights_hf.training.run_folder import read_run_predictions


def break_off(path, error):
    with written_aside(path) as partial:
        partial.write_text("half")
        raise error


def test_a_file_appears_whole_or_keeps_what_it_held(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"é": 1})
    assert path.read_text(encoding="utf-8") == '{\n "é": 1\n}\n'
    with pytest.raises(RuntimeError, match="halfway"):
        break_off(path, RuntimeError("halfway"))
    assert path.read_text(encoding="utf-8") == '{\n "é": 1\n}\n'
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_full_disk_is_named_and_leaves_the_older_file(tmp_path):
    path = tmp_path / "result.txt"
    write_text(path, "older")
    with pytest.raises(OSError, match="disk is full") as caught:
        break_off(path, OSError(errno.ENOSPC, "No space left on device"))
    assert caught.value.filename == str(path)
    assert path.read_text() == "older"


def test_a_file_that_cannot_be_written_is_named_by_its_own_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "nowhere" / "result.txt", "")
    assert caught.value.filename == str(tmp_path / "nowhere" / "result.txt")


def test_links_stay_links_and_pipes_are_written_to(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"

    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_half_characters_are_escaped_so_that_the_file_is_utf_8(tmp_path):
    write_json(tmp_path / "x.json", {"video": "\udcff.mp4", "other": "é"})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"video": "\udcff.mp4", "other": "é"}


def test_nan_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


def test_leftovers_of_dead_processes_go_and_those_of_running_ones_stay(tmp_path):
    host = socket.gethostname()
    dead, alive, elsewhere = (
        tmp_path / f".{name}-0{PARTIAL_SUFFIX}"
        for name in (f"{host}-999999999", f"{host}-{os.getpid()}", "other-host-7")
    )
    for path in (dead, alive, elsewhere):
        path.touch()
    remove_leftovers(tmp_path)
    assert not dead.exists()
    assert alive.exists()
    assert elsewhere.exists()
    os.utime(elsewhere, (0, 0))
    remove_leftovers(tmp_path)
    assert not elsewhere.exists()


def test_json_that_is_nested_too_deep_is_damaged_like_any_other(tmp_path):
    deep = "[" * 100_000
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json(deep)
    (tmp_path / "deep.json").write_text(deep)
    with pytest.raises(ValueError, match=r"deep\.json cannot be read \(it is nested too deep\)"):
        read_json_object(tmp_path / "deep.json")


@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("answers.json", lambda path: read_run_predictions(path, [])),
        ("training_record.json", lambda path: read_record(path.parent)),
        ("run_settings.json", lambda path: check_same_settings(path.parent, {})),
        ("loss_totals.json", lambda path: read_loss_totals(path.parent)),
    ],
)
def test_what_reads_json_names_the_file_that_is_nested_too_deep(tmp_path, file, read):
    (tmp_path / file).write_text("[" * 100_000)
    with pytest.raises(ValueError, match=file):
        read(tmp_path / file)


def test_a_pipe_that_nobody_reads_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="A named pipe that nobody reads") as raised:
        write_text(tmp_path / "pipe", "x")
    assert raised.value.filename == str(tmp_path / "pipe")


def test_a_reader_may_start_a_little_later(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Timer(0.3, lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "through")
    reader.join()
    assert read == ["through"]


def test_a_folder_with_a_pipe_in_it_is_refused(tmp_path):
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "model.safetensors").write_text("x")
    check_holds_regular_files(tmp_path)
    os.mkfifo(tmp_path / "checkpoint-2" / "scheduler.pt")
    with pytest.raises(ValueError, match=r"scheduler\.pt is not a regular file\. Remove it"):
        check_holds_regular_files(tmp_path)
