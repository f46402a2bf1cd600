import json

import pytest
import torch

from benchmarks import growth


def test_every_kind_of_growth_is_measured(capsys, monkeypatch):
    monkeypatch.setattr(growth, "SIZES", {name: sizes[:2] for name, sizes in growth.SIZES.items()})
    threads = torch.get_num_threads()
    growth.main(rounds=1, small=True)
    torch.set_num_threads(threads)
    printed, _, table = capsys.readouterr().out.partition("\n\n")
    rows = json.loads(printed)["growth"]
    assert {name: list(sizes) for name, sizes in rows.items()} == {
        "clips": ["75", "150"],
        "one pass": ["75", "150"],
        "sentences": ["1", "4"],
        "batch": ["1", "4"],
    }
    assert all(row["seconds"] > 0 for sizes in rows.values() for row in sizes.values())
    assert table.count("\n") >= 9


def test_exponents_are_those_of_the_growth():
    rows = {
        10: {"seconds": 1.0, "mib": 5.0},
        20: {"seconds": 4.0, "mib": 5.0},
        80: {"seconds": 16.0, "mib": 0.0},
    }
    found = growth.with_exponents(rows)
    assert [row["seconds_exponent"] for row in found.values()] == [None, pytest.approx(2), pytest.approx(1)]
    assert [row["mib_exponent"] for row in found.values()] == [None, 0, None]
