import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

import videolights_hf

ROOT = Path(__file__).parents[1]


def run(script: str) -> str:
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_loads_neither_torch_nor_transformers():
    assert (
        run(
            "import sys, videolights_hf; print(sorted({'torch', 'transformers', 'av', 'matplotlib'} & set(sys.modules)))"
        )
        == "[]"
    )


@pytest.mark.parametrize(
    "imports",
    [
        "import videolights_hf; from transformers import AutoConfig, AutoModel, AutoProcessor, pipelines",
        "from transformers import AutoConfig, AutoModel, AutoProcessor, pipelines; import videolights_hf",
        "import videolights_hf.models.videolights.modeling; from transformers import AutoConfig, AutoModel, "
        "AutoProcessor, pipelines",
        "import videolights_hf; from transformers import CLIPModel, AutoConfig, AutoModel, AutoProcessor, pipelines",
        "from videolights_hf import VideoMomentRetrievalPipeline; from transformers import AutoConfig, AutoModel, "
        "AutoProcessor, pipelines",
    ],
)
def test_transformers_knows_videolights_whatever_is_imported_first(imports):
    found = run(
        f"{imports}\n"
        "from transformers.models.auto.processing_auto import PROCESSOR_MAPPING\n"
        "config = AutoConfig.for_model('videolights', hidden_size=16, num_attention_heads=4)\n"
        "print(type(AutoModel.from_config(config)).__name__, PROCESSOR_MAPPING[type(config)].__name__,\n"
        "      'video-moment-retrieval' in pipelines.PIPELINE_REGISTRY.get_supported_tasks())"
    )
    assert found == "VideoLightsForMomentRetrieval VideoLightsProcessor True"


def test_every_exported_name_exists():
    for name in videolights_hf.__all__:
        assert getattr(videolights_hf, name) is not None
    assert set(dir(videolights_hf)) == set(videolights_hf.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        videolights_hf.nothing_of_the_kind  # noqa: B018


def test_the_version_is_said_once_and_cited():
    assert version("videolights-hf") == videolights_hf.__version__
    assert f"\nversion: {videolights_hf.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_source_distribution_holds_what_its_tests_need(tmp_path):
    shutil.copytree(
        ROOT,
        tmp_path / "copy",
        ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache", "*.egg-info", "site", "runs"),
    )
    script = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=tmp_path / "copy", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / done.stdout.splitlines()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = [path for folder in ("tests", "docs", "examples", "benchmarks") for path in (ROOT / folder).rglob("*")]
    needed += [ROOT / name for name in ("CHANGELOG.md", "constraints.txt", "Makefile", "README.md")]
    wanted = {str(path.relative_to(ROOT)) for path in needed if path.is_file() and "__pycache__" not in path.parts}
    assert not wanted - names
    stubs = (ROOT / "src/videolights_hf").rglob("*.pyi")
    assert {str(path.relative_to(ROOT)) for path in stubs} <= names
