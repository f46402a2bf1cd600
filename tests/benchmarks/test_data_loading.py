import json

import pytest
import torch

from benchmarks import data_loading


def test_a_row_for_each_number_of_workers(capsys, monkeypatch):
    monkeypatch.setattr(data_loading, "VIDEO_WIDTHS", {"slowfast": 6, "clip": 4})
    monkeypatch.setattr(data_loading, "TEXT_WIDTHS", {"clip": 4})
    threads = torch.get_num_threads()
    data_loading.main(videos=6, batch_size=4, epochs=2)
    torch.set_num_threads(threads)
    printed, _, table = capsys.readouterr().out.partition("\n\n")
    workers = json.loads(printed)["workers"]
    assert list(workers) == ["0", "2", "resident"]
    for row in workers.values():
        assert row["milliseconds_per_sample"] > 0
        assert len(row["memory_mib"]) == 2
    # The workers' memory counts.
    assert workers["2"]["memory_mib"][0] > workers["0"]["memory_mib"][0] * 1.2
    assert table.count("\n| 0 |") == table.count("\n| 2 |") == table.count("\n| resident |") == 1


def test_annotations_are_within_their_videos():
    import numpy as np

    for number in range(50):
        row = data_loading.annotation(number, number, np.random.default_rng(number))
        assert row["relevant_windows"][0][0] >= 0
        assert row["relevant_windows"][-1][1] <= row["duration"]
        assert len(row["relevant_clip_ids"]) == len(set(row["relevant_clip_ids"])) == len(row["saliency_scores"])
        assert max(row["relevant_clip_ids"]) == pytest.approx(row["relevant_windows"][-1][1] / 2 - 1)
