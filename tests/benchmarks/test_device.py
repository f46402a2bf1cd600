import json

import pytest

from benchmarks import device, training_rate


@pytest.mark.slow
def test_a_row_for_each_way(tmp_path, capsys):
    report = tmp_path / "report.json"
    device.main(device="cpu", rounds=1, precisions=["float32"], ways=["eager"], small=True, output=report)
    found = json.loads(report.read_text())
    assert list(found["training"]["float32"]) == list(found["inference"]["float32"]) == ["eager"]
    step = found["training"]["float32"]["eager"]
    assert step["minutes_for_200_epochs"] == pytest.approx(45_200 * step["ms"] / 60_000)
    assert set(found["inference"]["float32"]["eager"]) == {"100 pairs", "one pair", "64 sentences"}
    assert capsys.readouterr().out.count("\n| eager |") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ways": ["fast"]}, "'fast' is not one of release, eager"),
        ({"precisions": ["int4"]}, "'int4' is not one of float32"),
        ({"device": "cpu"}, "CUDA graphs need a GPU"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        device.main(**({"device": "cpu", "ways": ["eager"]} | arguments if "ways" in arguments else arguments))


def test_the_trainer_is_timed_by_settings(capsys):
    training_rate.main(
        runs=["use_cpu=true", "use_cpu=true resident_features=true"],
        epochs=2,
        videos=3,
        queries=4,
        evaluated=2,
        evaluate=True,
        small=True,
    )
    printed = capsys.readouterr().out
    rows = [json.loads(line.partition(": ")[2]) for line in printed.splitlines() if line.startswith("# ")]
    assert len(rows) == 2
    assert all(row["steps_per_epoch"] == 1 and row["evaluation_s"] > 0 for row in rows)
    # Features that lie there are those that are read.
    assert rows[0]["last_loss"] == rows[1]["last_loss"]
    assert "\n| use_cpu=true resident_features=true |" in printed
