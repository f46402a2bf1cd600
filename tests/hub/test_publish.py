"""Trainings and folders on the Hub: nothing that a reader needs is missing at any time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, parse_eval_result_entries

from tests.support.hub_server import OWNER, HubServer
from tests.support.training import make_tables
from videolights_hf.hub.code import flat_files
from videolights_hf.hub.publish import hub_name, model_folders

ROOT = Path(__file__).parents[2]
ALWAYS = {"README.md", "config.json", "model.safetensors", "processor_config.json", "recipe.yaml", *flat_files()}
AT_THE_END = ALWAYS | {"results.json", "training_record.json", "eval_metrics.json"}

TRAIN = """
import sys
from tests.support.training import brief, run_data
from videolights_hf.training import run_recipe

name, output, *overrides = sys.argv[1:]
rule = "annotators" if name.startswith("tvsum") else "graded"
run_recipe(brief(name, *overrides), run_data(rule), output)
"""


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def environment(hub, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return {**os.environ, **hub.environment(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def run(command, environment, *, fails: bool = False) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def trained(hub, environment, tmp_path_factory):
    """A run that pushed at every save."""
    folder = tmp_path_factory.mktemp("runs") / "finder"
    overrides = ["push_to_hub=true", f"hub_model_id={OWNER}/finder", "hub_strategy=every_save", "hub_always_push=true"]
    run([sys.executable, "-c", TRAIN, "qvhighlights/videolights", str(folder), *overrides], environment)
    return folder


def commits_of(hub, repository):
    """The files of each commit of a repository, by its message."""
    return {hub.messages[commit]: files for commit, files in hub.commits.items() if repository in hub.names[commit]}


def test_every_commit_of_a_training_holds_what_a_reader_needs(hub, trained):
    commits = commits_of(hub, f"{OWNER}/finder")
    progress = [message for message in commits if message.startswith("Training in progress")]
    assert progress
    for message in progress:
        assert set(commits[message]) >= ALWAYS, message
    assert set(hub.files(f"{OWNER}/finder")) == AT_THE_END
    for files in commits.values():
        assert not [
            name for name in files if name.endswith((".bin", ".pt", ".pth", ".jsonl")) or "checkpoint-" in name
        ]


def test_the_card_of_a_training_says_what_happened(hub, trained):
    card = ModelCard(hub.files(f"{OWNER}/finder")["README.md"].decode())
    results = json.loads(hub.files(f"{OWNER}/finder")["results.json"])
    reported = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert reported["MR-full-mAP"] == pytest.approx(results["eval_MR-full-mAP"])
    assert "`qvhighlights/videolights`" in card.text
    assert "| `num_train_epochs` | `2` |" in card.text
    assert "Seed: 2018" in card.text
    assert str(trained) not in card.text


def test_a_folder_is_pushed_whole_and_again_after_a_failure(hub, environment, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file() and path.name != "README.md"}
    push = [sys.executable, "-m", "videolights_hf", "push", str(trained), f"{OWNER}/pushed"]
    push += ["--predictions", "--license", "cc-by-nc-sa-4.0", "--tag", "mine", "--benchmark", "bench/qvh"]
    hub.failing_commits = 1
    assert "Error" in run(push, environment, fails=True)
    assert {path: path.read_bytes() for path in before} == before
    run(push, environment)
    files = hub.files(f"{OWNER}/pushed")
    assert set(files) == AT_THE_END | {"eval_predictions.jsonl", ".eval_results/bench--qvh.yaml"}
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "cc-by-nc-sa-4.0"
    assert "mine" in card.data.tags
    import yaml

    entries = parse_eval_result_entries(yaml.safe_load(files[".eval_results/bench--qvh.yaml"]))
    assert {entry.dataset_id for entry in entries} == {"bench/qvh"}
    assert any(entry.task_id == "val/MR-full-mAP" for entry in entries)


def test_a_model_on_the_hub_is_evaluated_by_its_own_recipe(environment, trained, tmp_path):
    make_tables().save_to_disk(tmp_path / "data")
    evaluate = [sys.executable, "-m", "videolights_hf", "evaluate", f"{OWNER}/finder"]
    run([*evaluate, "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")], environment)
    metrics = json.loads((tmp_path / "out" / "val_metrics.json").read_text())
    results = json.loads((trained / "results.json").read_text())
    assert metrics["full"]["MR-mAP"]["average"] == pytest.approx(results["eval_MR-full-mAP"], abs=0.01)


def test_branches_and_pull_requests(hub, environment, trained):
    push = [sys.executable, "-m", "videolights_hf", "push", str(trained), f"{OWNER}/branches", "--private"]
    run([*push, "--revision", "try", "--message", "A try"], environment)
    assert hub.files(f"{OWNER}/branches") == {}
    assert set(hub.files(f"{OWNER}/branches", "try")) >= ALWAYS
    assert "/discussions/" in run([*push, "--create-pr"], environment)


@pytest.mark.slow
def test_domains_do_not_overwrite_each_other(hub, environment, tmp_path):
    overrides = ["push_to_hub=true", f"hub_model_id={OWNER}/tvsum", "num_train_epochs=1"]
    run([sys.executable, "-c", TRAIN, "tvsum/videolights", str(tmp_path / "tvsum"), *overrides], environment)
    domains = list(model_folders(tmp_path / "tvsum"))
    assert len(domains) > 1
    for domain in domains:
        assert set(hub.files(f"{OWNER}/tvsum-{hub_name(domain)}")) >= ALWAYS
    run([sys.executable, "-m", "videolights_hf", "push", str(tmp_path / "tvsum"), f"{OWNER}/together"], environment)
    files = hub.files(f"{OWNER}/together")
    for domain in domains:
        assert {f"{domain}/{name}" for name in ALWAYS} <= set(files)
        assert f'subfolder="{domain}"' in files["README.md"].decode()
    make_tables("annotators").save_to_disk(tmp_path / "data")
    evaluate = ["evaluate", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")]
    # In one process, since each loads the libraries anew.
    load = f"""
import json
from typer.testing import CliRunner
from videolights_hf import VideoLightsForMomentRetrieval as Model
from videolights_hf.cli.main import app

loaded = Model.from_pretrained("{OWNER}/together", subfolder="{domains[0]}")
results = [
    CliRunner().invoke(app, [*{evaluate!r}, model])
    for model in ("{OWNER}/together", "{OWNER}/tvsum-{hub_name(domains[0])}")
]
print(json.dumps([loaded.config.highlight_only, *(result.output for result in results)]))
"""
    highlight_only, together, alone = json.loads(run([sys.executable, "-c", load], environment).splitlines()[-1])
    assert highlight_only
    assert all(domain in together for domain in domains)
    assert domains[0] in alone
    assert domains[1] not in alone


def test_a_folder_without_a_model_is_refused(environment, tmp_path):
    error = run([sys.executable, "-m", "videolights_hf", "push", str(tmp_path), f"{OWNER}/x"], environment, fails=True)
    assert "holds no model" in error


def test_names_of_repositories():
    assert hub_name("changing Vehicle Tire") == "changing-Vehicle-Tire"
    assert hub_name("../x") == "x"
