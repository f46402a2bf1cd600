"""See also tests/backbones/test_slowfast_weights.py, for pickles."""

import struct

import pytest
import torch

from videolights_hf.common.safe_loading import is_torch_file, load_torch_file


def test_an_archive_that_says_it_spans_several_disks_is_a_damaged_file(tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save({"weight": torch.zeros(2)}, path)
    content = bytearray(path.read_bytes())
    # The record that leads to the end of a large archive holds, behind 16 bytes, the number of its disks.
    place = content.index(b"PK\x06\x07") + 16
    assert struct.unpack_from("<I", content, place) == (1,)
    struct.pack_into("<I", content, place, 2)
    path.write_bytes(content)
    assert is_torch_file(path)
    with pytest.raises(ValueError, match=r"model\.ckpt is damaged"):
        load_torch_file(path)
