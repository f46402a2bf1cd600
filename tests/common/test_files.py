import errno
import os
import socket

import pytest

from videolights_hf.common.files import PARTIAL_SUFFIX, remove_leftovers, write_json, write_text, written_aside


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
