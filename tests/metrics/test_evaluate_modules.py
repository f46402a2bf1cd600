"""The `evaluate` modules of the checkout. Importing `evaluate` takes about ten seconds, hence slow."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

PREDICTIONS = [
    {"qid": 2, "vid": "b", "pred_relevant_windows": [], "pred_saliency_scores": [0.1, 0.9, 0.3]},
    {"qid": 1, "vid": "a", "pred_relevant_windows": [[0.1, 10.1, 0.9]], "pred_saliency_scores": [0.1, 0.9, 0.3]},
]
REFERENCES = [
    {
        "qid": qid,
        "duration": 6,
        "relevant_windows": [[0.1, 10.1]],
        "relevant_clip_ids": [1],
        "saliency_scores": [[4, 2, 1]],
    }
    for qid in (1, 2)
]
VIDEOS = [{"qid": "a", "domain": "dog", "label": [[0], [1]]}, {"qid": "b", "domain": "skiing", "label": [[1], [0]]}]
SCORES = [{"qid": qid, "pred_saliency_scores": [0.9, 0.1]} for qid in "ab"]


@pytest.fixture
def load(tmp_path):
    """Instantiate the module of a name, with its cache in a folder of the test."""
    evaluate = pytest.importorskip("evaluate")

    def load_module(name, **options):
        spec = importlib.util.spec_from_file_location(f"{name}_module", CHECKOUT / "metrics" / name / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        metrics = [value for value in vars(module).values() if isinstance(value, type)]
        assert [issubclass(metric, evaluate.Metric) for metric in metrics] == [True]
        return metrics[0](cache_dir=str(tmp_path), **options)

    return load_module


@pytest.mark.slow
def test_modules_load_offline_from_a_checkout(tmp_path):
    pytest.importorskip("datasets")
    code = """if True:
        import socket

        def refuse(*arguments, **options):
            raise AssertionError("the network was used")

        socket.socket.connect = socket.getaddrinfo = refuse

        import evaluate

        metric = evaluate.load("metrics/moment_retrieval")
        row = {"qid": 1, "pred_relevant_windows": [[10.0, 20.0, 0.9]]}
        brief = metric.compute(predictions=[row], references=[{"qid": 1, "relevant_windows": [[12.0, 20.0]]}])
        assert brief["MR-full-R1@0.7"] == 100.0, brief
        assert evaluate.load("metrics/highlight_detection").name == "highlight_detection"
        assert evaluate.load("metrics/domain_highlights", "tvsum").dataset == "tvsum"
    """
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["moment_retrieval", "highlight_detection", "domain_highlights"])
def test_modules_describe_themselves(load, name):
    info = load(name, **({"config_name": "tvsum"} if name == "domain_highlights" else {})).info
    assert all(text.strip() for text in (info.description, info.citation, info.inputs_description, info.license))
    assert info.reference_urls
    assert set(info.features) == {"predictions", "references"}


@pytest.mark.slow
def test_rows_of_submission_and_annotation_files_are_scored_whatever_their_order(load):
    brief = load("moment_retrieval").compute(predictions=PREDICTIONS, references=REFERENCES)
    assert brief["MR-full-mAP"] == brief["MR-full-R1@0.7"] == 50.0
    assert all(isinstance(value, float) for value in brief.values())
    assert load("highlight_detection").compute(predictions=PREDICTIONS, references=REFERENCES) == {
        "HL-min-Fair-mAP": 66.67,
        "HL-min-Fair-Hit1": 100.0,
        "HL-min-Good-mAP": 33.33,
        "HL-min-Good-Hit1": 100.0,
        "HL-min-VeryGood-mAP": 33.33,
        "HL-min-VeryGood-Hit1": 100.0,
    }


@pytest.mark.slow
def test_rows_added_one_by_one_score_the_same_and_in_detail(load):
    metric = load("moment_retrieval")
    for prediction, reference in zip(PREDICTIONS, REFERENCES):
        metric.add(prediction=prediction, reference=reference)
    detailed = metric.compute(detailed=True)
    assert detailed["brief"] == metric.compute(predictions=PREDICTIONS, references=REFERENCES)
    assert detailed["full"]["MR-R1"]["0.95"] == 50.0


@pytest.mark.slow
def test_a_row_without_qid_is_refused(load):
    with pytest.raises(ValueError, match="a row of the predictions has no 'qid'"):
        load("moment_retrieval").compute(predictions=[{"vid": "a"}], references=REFERENCES[:1])


@pytest.mark.slow
def test_domains_are_scored_by_the_configuration(load):
    youtube = load("domain_highlights", config_name="youtube_highlights")
    assert youtube.compute(predictions=SCORES, references=VIDEOS) == {"HL-mAP": 0.625}
    assert youtube.compute(predictions=SCORES, references=VIDEOS, domain="skiing") == {"HL-mAP": 1.0}
    tvsum = load("domain_highlights", config_name="tvsum")
    video = {"qid": "a", "domain": "VU", "label": [[1, 2], [5, 1]]}
    assert tvsum.compute(predictions=SCORES[:1], references=[video], detailed=True) == {
        "brief": {"HL-mAP": 0.625},
        "tvsum": {"VU": 0.625},
    }


@pytest.mark.slow
def test_domains_need_a_configuration(load):
    with pytest.raises(ValueError, match="choose a configuration: tvsum or youtube_highlights"):
        load("domain_highlights")


def test_metrics_do_not_import_evaluate():
    code = "import sys, videolights_hf.metrics, videolights_hf.cli.evaluate; assert 'evaluate' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
