import json

import torch

from benchmarks.extraction import main
from tests.support.corpora import write_corpus, write_numbered


def test_each_backbone_is_measured_alone_and_all_together(tmp_path, capsys):
    write_corpus(tmp_path, 2)
    write_numbered(tmp_path / "third.mp4", 20, 5)
    threads = torch.get_num_threads()
    main(str(tmp_path), ["clip", "blip2"], random="small", backbone_batch_size=["clip=3"])
    torch.set_num_threads(threads)
    report = json.loads(capsys.readouterr().out)
    assert list(report["runs"]) == ["clip", "blip2", "clip+blip2"]
    assert report["videos"] == 3
    assert report["batch_sizes"]["clip"] == 3
    clips = {run["clips"] for run in report["runs"].values()}
    assert len(clips) == 1
    for run in report["runs"].values():
        assert run["clips_per_second"] > 0
        assert 0 <= run["waiting_share"] <= 1
        assert 0 < run["decoding_share"] < 1
