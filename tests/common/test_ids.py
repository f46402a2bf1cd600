import pytest

from videolights_hf.common.ids import check_ids, is_plain_name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "C:x", "/x", "a\0b"])
def test_names_that_lead_out_of_a_folder_are_refused(name):
    assert not is_plain_name(name)
    with pytest.raises(ValueError, match="cannot be a file name"):
        check_ids(["a", name])


def test_plain_names_pass():
    check_ids(["a", 1, "x_-1.0", "v_2.0_4.0.mp4"])
