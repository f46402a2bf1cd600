"""Trainings and folders on the Hub: nothing that a reader needs is missing at any time."""

import json
import os
import shutil

import pytest
from huggingface_hub import ModelCard, parse_eval_result_entries

from tests.support.hub_server import OWNER, HubServer
from tests.support.training import make_tables
from tests.support.warm import ROOT, WarmPython, warm_python
from videolights_hf import VideoLightsForMomentRetrieval
from videolights_hf.hub.code import flat_files
from videolights_hf.hub.publish import hub_name, model_folders, write_card

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
def python(hub, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with warm_python({**os.environ, **hub.environment(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}) as python:
        yield python


def run(command, python: WarmPython, *, fails: bool = False) -> str:
    done = python.run(*command)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def trained(hub, python, tmp_path_factory):
    """A run that pushed at every save."""
    folder = tmp_path_factory.mktemp("runs") / "finder"
    overrides = ["push_to_hub=true", f"hub_model_id={OWNER}/finder", "hub_strategy=every_save", "hub_always_push=true"]
    run(["-c", TRAIN, "qvhighlights/videolights", str(folder), *overrides], python)
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
    # A token among them would be public.
    assert "hub_" not in card.text
    assert "hub_" not in hub.files(f"{OWNER}/finder")["training_record.json"].decode()


def test_a_folder_is_pushed_whole_and_again_after_a_failure(hub, python, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file() and path.name != "README.md"}
    push = ["-m", "videolights_hf", "push", str(trained), f"{OWNER}/pushed"]
    push += ["--predictions", "--license", "cc-by-nc-sa-4.0", "--tag", "mine", "--benchmark", "bench/qvh"]
    hub.failing_commits = 1
    assert "Error" in run(push, python, fails=True)
    assert {path: path.read_bytes() for path in before} == before
    run(push, python)
    files = hub.files(f"{OWNER}/pushed")
    assert set(files) == AT_THE_END | {"eval_predictions.jsonl", ".eval_results/bench--qvh.yaml"}
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "cc-by-nc-sa-4.0"
    assert "mine" in card.data.tags
    import yaml

    entries = parse_eval_result_entries(yaml.safe_load(files[".eval_results/bench--qvh.yaml"]))
    assert {entry.dataset_id for entry in entries} == {"bench/qvh"}
    assert any(entry.task_id == "val/MR-full-mAP" for entry in entries)


@pytest.mark.parametrize("evaluate", [["-m", "videolights_hf", "evaluate"], ["examples/evaluate.py"]], ids=str)
def test_a_model_on_the_hub_is_evaluated_by_its_own_recipe(python, trained, tmp_path, evaluate):
    make_tables().save_to_disk(tmp_path / "data")
    run([*evaluate, f"{OWNER}/finder", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")], python)
    metrics = json.loads((tmp_path / "out" / "val_metrics.json").read_text())
    results = json.loads((trained / "results.json").read_text())
    assert metrics["full"]["MR-mAP"]["average"] == pytest.approx(results["eval_MR-full-mAP"], abs=0.01)


def test_branches_and_pull_requests(hub, python, trained):
    push = ["-m", "videolights_hf", "push", str(trained), f"{OWNER}/branches", "--private"]
    run([*push, "--revision", "try", "--message", "A try"], python)
    assert hub.files(f"{OWNER}/branches") == {}
    assert set(hub.files(f"{OWNER}/branches", "try")) >= ALWAYS
    assert "/discussions/" in run([*push, "--create-pr"], python)


@pytest.mark.slow
def test_domains_do_not_overwrite_each_other(hub, python, tmp_path):
    overrides = ["push_to_hub=true", f"hub_model_id={OWNER}/tvsum", "num_train_epochs=1"]
    run(["-c", TRAIN, "tvsum/videolights", str(tmp_path / "tvsum"), *overrides], python)
    domains = list(model_folders(tmp_path / "tvsum"))
    assert len(domains) > 1
    for domain in domains:
        assert set(hub.files(f"{OWNER}/tvsum-{hub_name(domain)}")) >= ALWAYS
    run(["-m", "videolights_hf", "push", str(tmp_path / "tvsum"), f"{OWNER}/together"], python)
    files = hub.files(f"{OWNER}/together")
    for domain in domains:
        assert {f"{domain}/{name}" for name in ALWAYS} <= set(files)
        assert f'subfolder="{domain}"' in files["README.md"].decode()
    make_tables("annotators").save_to_disk(tmp_path / "data")
    evaluate = ["-m", "videolights_hf", "evaluate", "--data", tmp_path / "data", "--output", tmp_path / "out"]
    together = run([*evaluate, f"{OWNER}/together"], python)
    alone = run([*evaluate, f"{OWNER}/tvsum-{hub_name(domains[0])}"], python)
    assert all(domain in together for domain in domains)
    assert domains[0] in alone
    assert domains[1] not in alone
    load = (
        "import sys; from videolights_hf import VideoLightsForMomentRetrieval as Model; "
        f"print(Model.from_pretrained('{OWNER}/together', subfolder=sys.argv[1]).config.highlight_only)"
    )
    assert run(["-c", load, domains[0]], python).strip() == "True"


def test_a_folder_without_a_model_is_refused(python, tmp_path):
    error = run(["-m", "videolights_hf", "push", str(tmp_path), f"{OWNER}/x"], python, fails=True)
    assert "holds no model" in error


def test_damaged_settings_of_a_processor_are_named(python, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoint-*"))
    (tmp_path / "copy" / "processor_config.json").write_text("[]")
    message = run(["-m", "videolights_hf", "push", str(tmp_path / "copy"), f"{OWNER}/damaged"], python, fails=True)
    assert "processor_config.json holds a JSON list, expected an object" in message


def test_a_configuration_that_is_nested_too_deep_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": ' + "[" * 100_000)
    with pytest.raises(ValueError, match=r"The config\.json of .* is damaged"):
        write_card(tmp_path, "someone/name", None)
    with pytest.raises(OSError, match=r"its config\.json is damaged"):
        VideoLightsForMomentRetrieval.from_pretrained(tmp_path)


def test_names_of_repositories():
    assert hub_name("changing Vehicle Tire") == "changing-Vehicle-Tire"
    assert hub_name("../x") == "x"
