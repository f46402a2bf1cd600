import json
import os

import pytest

from videolights_hf.common.settings import SettingsMismatchError, keep_settings

SETTINGS = {"size": 2, "model": {"checkpoint": "a/b", "weights": "1234", "generation": {"num_beams": 3}}}


def changed(**model):
    return {**SETTINGS, "model": {**SETTINGS["model"], **model}}


def test_the_same_settings_are_written_once_and_accepted(tmp_path):
    path = tmp_path / "settings.json"
    keep_settings(path, SETTINGS, "things")
    assert json.loads(path.read_text()) == SETTINGS
    keep_settings(path, SETTINGS, "things")
    keep_settings(path, changed(checkpoint="c/d"), "things")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**SETTINGS, "size": 3}, "holds things of other settings: size is 2 there and 3 now"),
        (changed(generation={"num_beams": 1}), r"model\.generation\.num_beams is 3 there and 1 now"),
        (changed(weights="5"), r"model\.weights is '1234' there and '5' now"),
        (changed(weights="5", checkpoint="c"), r"model\.weights .* model\.checkpoint is 'a/b' there and 'c' now"),
        (changed(weights=None, checkpoint="c"), r"model\.checkpoint is 'a/b' there"),
        ({"model": SETTINGS["model"]}, "size is 2 there and None now"),
    ],
)
def test_others_are_named_with_both_values(tmp_path, settings, message):
    keep_settings(tmp_path / "settings.json", SETTINGS, "things")
    with pytest.raises(SettingsMismatchError, match=message):
        keep_settings(tmp_path / "settings.json", settings, "things")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "[" * 100_000, '{"size": ' + '{"a": ' * 900 + "1" + "}" * 901, "\udcff"]
)
def test_a_damaged_file_is_one_error(tmp_path, content):
    (tmp_path / "settings.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(
        ValueError, match=r"settings\.json cannot be read|expected an object|of other settings"
    ) as caught:
        keep_settings(tmp_path / "settings.json", SETTINGS, "things")
    assert len(str(caught.value)) < 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_in_its_place_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "settings.json")
    with pytest.raises(ValueError, match="is not a regular file"):
        keep_settings(tmp_path / "settings.json", SETTINGS, "things")
