import json

import pytest

from benchmarks.few_labels import METRICS, main, relabel
from videolights_hf.data import load_feature_dataset


def test_a_moment_is_the_first_three_seconds_of_a_scene():
    annotation = {"qid": 1, "query": "a", "vid": "v", "duration": 20, "relevant_windows": [[2, 9], [15, 17]]}
    assert relabel(annotation | {"saliency_scores": []}) == annotation | {"relevant_windows": [[2, 5], [15, 17]]}


@pytest.mark.slow
def test_the_experiment_leads_to_a_table_and_goes_on_where_it_stopped(tmp_path, capsys):
    options = {"num_labels": 2, "num_held_out": 1, "steps": 1, "seed": [1, 2]}
    main(tmp_path, **options)
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    assert len(rows) == 4
    assert [line.count("±") for line in rows] == [0, 0, len(METRICS), len(METRICS)]

    tables = load_feature_dataset(tmp_path / "dataset")
    assert len(set(tables["train"]["vid"])) == len(tables["train"]) == 2
    assert not set(tables["train"]["vid"]) & set(tables["test"]["vid"])
    assert all(end - start <= 3 for row in tables["test"] for start, end in row["relevant_windows"])

    results = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.json")}
    assert len(results) == 4
    main(tmp_path, **options)
    assert {path: path.stat().st_mtime_ns for path in results} == results
    assert capsys.readouterr().out.splitlines()[-4:] == printed.splitlines()[-4:]
    settings = json.loads((tmp_path / "runs" / "finetuned-1.json").read_text())["settings"]
    assert settings == {"seed": 1, "max_steps": 1, "learning_rate": 3e-4}
