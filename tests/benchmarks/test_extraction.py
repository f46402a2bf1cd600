import json

import pytest
import torch
import typer

from benchmarks.extraction import main
from tests.support.corpora import write_corpus, write_numbered

TIMES = {"forward_seconds", "preparing_seconds", "waiting_seconds", "cpu_seconds", "seconds_for_an_hour"}


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def report(capsys, *arguments, **options):
    main(*arguments, random="small", rounds=1, **options)
    return json.loads(capsys.readouterr().out.partition("\n\n|")[0])


def test_each_backbone_is_measured_alone_and_all_together(tmp_path, capsys):
    write_corpus(tmp_path, 2)
    write_numbered(tmp_path / "third.mp4", 20, 5)
    found = report(capsys, str(tmp_path), ["clip", "blip2"], backbone_batch_size=["clip=3"])
    assert list(found["runs"]) == ["clip", "blip2", "clip+blip2"]
    assert found["videos"] == 3
    assert found["batch_sizes"]["clip"] == 3
    assert len({run["clips"] for run in found["runs"].values()}) == 1
    for run in found["runs"].values():
        assert all(run[name] >= 0 for name in TIMES)
        wall = run["forward_seconds"] + run["preparing_seconds"] + run["waiting_seconds"]
        assert run["network_share"] == pytest.approx(run["forward_seconds"] / wall, abs=0.05)
        assert wall == pytest.approx(run["clips"] / run["clips_per_second"], rel=0.1)
        assert run["share_of_forward"] == pytest.approx(
            run["clips_per_second"] / run["forward_clips_per_second"], rel=0.1, abs=0.002
        )


def test_a_video_is_made_up_where_none_is_given(capsys):
    found = report(capsys, made_up=20)
    assert found["videos"] == 1
    assert found["runs"]["clip"]["clips"] == 10


def test_videos_must_be_given_or_made_up():
    with pytest.raises(typer.BadParameter, match="either videos or --made-up"):
        main(random="small")
