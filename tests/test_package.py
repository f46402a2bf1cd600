import subprocess
import sys

import pytest

import videolights_hf


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
