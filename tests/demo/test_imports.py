import subprocess
import sys


def test_bundled_files_need_no_extra():
    """The first example of the README works, up to reading the video, on the core alone."""
    code = (
        "import sys\n"
        "sys.modules['PIL'] = sys.modules['av'] = None\n"
        "from videolights_hf.demo import demo_checkpoint, demo_videos\n"
        "assert (demo_checkpoint() / 'config.json').is_file()\n"
        "assert (demo_videos() / 'demo_0_00000.mp4').is_file()\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rendering_without_pillow_names_the_extra():
    code = (
        "import sys\n"
        "sys.modules['PIL'] = None\n"
        "from videolights_hf.cli.terminal import errors_as_lines\n"
        "with errors_as_lines():\n"
        "    from videolights_hf.demo import render_frame\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == 'Error: This needs PIL: pip install "videolights-hf[video]"\n'
