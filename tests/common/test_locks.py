import signal
import subprocess
import sys

import pytest

from videolights_hf.common.locks import FolderInUseError, locked_folder

HOLD = """
import sys, time
from videolights_hf.common.locks import locked_folder
with locked_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_holder_is_refused_and_the_first_is_named(tmp_path):
    with locked_folder(tmp_path / "out"):
        with (
            pytest.raises(FolderInUseError, match=r"out is in use by process \d+ on "),
            locked_folder(tmp_path / "out"),
        ):
            pass
        with locked_folder(tmp_path / "other"):
            pass
    with locked_folder(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_lock_of_a_killed_process_is_free(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(FolderInUseError, match=f"process {process.pid} "), locked_folder(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with locked_folder(tmp_path):
        pass
