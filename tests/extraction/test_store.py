import errno
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from videolights_hf.extraction.store import FeatureFolder, SettingsMismatchError, to_stored

SETTINGS = {"backbone": "clip", "checkpoint": "a/b", "weights": "1234", "clip_length": 2.0, "dtype": "float16"}


def prepared(path, **changes):
    folder = FeatureFolder(path, {**SETTINGS, **changes})
    folder.prepare()
    folder.refresh()
    return folder


class TestWriting:
    def test_arrays_come_back(self, tmp_path):
        folder = prepared(tmp_path / "new" / "clip_features")
        array = np.arange(6, dtype=np.float16).reshape(2, 3)
        assert "x_1.0" not in folder
        folder.write("x_1.0", features=array)
        assert "x_1.0" in folder
        with np.load(folder.path / "x_1.0.npz", allow_pickle=False) as file:
            assert np.array_equal(file["features"], array)
        assert "x_1.0" in prepared(folder.path)

    def test_the_longest_name_that_a_file_may_have(self, tmp_path):
        folder = prepared(tmp_path)
        folder.write("v" * 251, features=np.zeros((1, 1)))
        assert len(max(os.listdir(tmp_path), key=len)) == 255

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_leaves_no_partial_file(self, tmp_path, monkeypatch, number):
        folder = prepared(tmp_path)
        folder.write("before", features=np.zeros((1, 1)))
        save = np.savez

        def break_off(file, **arrays):
            save(file, **arrays)
            raise OSError(number, "No space left on device")

        monkeypatch.setattr(np, "savez", break_off)
        with pytest.raises(OSError, match=r"disk is full.*repeat the command.*after\.npz") as caught:
            folder.write("after", features=np.zeros((9, 9)))
        assert caught.value.errno == number
        assert sorted(os.listdir(tmp_path)) == ["before.npz", "extraction.json"]

    def test_what_a_killed_run_left_is_removed(self, tmp_path):
        prepared(tmp_path)
        finished = subprocess.Popen([sys.executable, "-c", ""])
        finished.wait()
        host = socket.gethostname()
        dead, alive = (tmp_path / f".{host}-{pid}-0.partial" for pid in (finished.pid, os.getpid()))
        elsewhere, old = tmp_path / ".elsewhere-1-0.partial", tmp_path / ".elsewhere-2-0.partial"
        for path in (dead, alive, elsewhere, old):
            path.write_bytes(b"half")
        os.utime(old, (0, 0))
        prepared(tmp_path)
        assert {path for path in (dead, alive, elsewhere, old) if path.exists()} == {alive, elsewhere}


class TestSettings:
    def test_settings_lie_beside_the_features(self, tmp_path):
        prepared(tmp_path)
        assert json.loads((tmp_path / "extraction.json").read_text()) == SETTINGS

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"clip_length": 1.0}, "clip_length is 2.0 there and 1.0 now"),
            ({"dtype": "float32"}, "dtype is 'float16' there and 'float32' now"),
            ({"weights": "5678", "checkpoint": "c/d"}, "checkpoint is 'a/b' there and 'c/d' now"),
            ({"weights": None, "checkpoint": "c/d"}, "checkpoint is 'a/b' there and 'c/d' now"),
        ],
    )
    def test_other_settings_are_refused_by_name(self, tmp_path, change, message):
        prepared(tmp_path)
        with pytest.raises(SettingsMismatchError, match=message):
            prepared(tmp_path, **change)

    def test_the_same_weights_from_elsewhere_are_the_same(self, tmp_path):
        prepared(tmp_path)
        prepared(tmp_path, checkpoint="c/d")

    def test_features_of_unknown_settings_are_not_mixed_with(self, tmp_path):
        np.savez(tmp_path / "published.npz", features=np.zeros((1, 1)))
        with pytest.raises(SettingsMismatchError, match=r"no extraction\.json"):
            prepared(tmp_path)
        assert os.listdir(tmp_path) == ["published.npz"]

    @pytest.mark.parametrize("content", ["", "{", "[]"])
    def test_settings_that_cannot_be_read_are_an_error(self, tmp_path, content):
        (tmp_path / "extraction.json").write_text(content)
        with pytest.raises(ValueError, match=r"extraction\.json"):
            prepared(tmp_path)


class TestValues:
    def test_values_beyond_the_type_are_refused(self):
        assert to_stored(np.float32([[1.0]]), "float16").dtype == np.float16
        with pytest.raises(ValueError, match="beyond float16: store them as float32"):
            to_stored(np.float32([[1e6]]), "float16")
        for value in (np.nan, np.inf):
            with pytest.raises(ValueError, match="not finite"):
                to_stored(np.float32([[value]]), "float32")
