import pytest

from videolights_hf.common.times import format_time


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [(0, 0, "00:00"), (65, 0, "01:05"), (59.96, 1, "01:00.0"), (3725, 0, "1:02:05"), (2.25, 1, "00:02.2")],
)
def test_times_read_as_minutes_and_seconds(seconds, decimals, text):
    assert format_time(seconds, decimals) == text
