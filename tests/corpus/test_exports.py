import pytest

from videolights_hf import pretraining


@pytest.mark.parametrize("name", pretraining.__all__)
def test_every_name_is_there(name):
    assert getattr(pretraining, name) is not None


def test_no_other_name_is():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pretraining.nothing
