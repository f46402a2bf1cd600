import pytest
import torch

from videolights_hf.common.processes import Processes


def test_one_process_has_all_the_work():
    processes = Processes.current("cpu")
    assert (processes.is_main, processes.count, processes.device) == (True, 1, torch.device("cpu"))
    assert processes.share([1, 2, 3]) == processes.gather([1, 2, 3]) == [1, 2, 3]


def test_several_deal_the_work_in_turn():
    shares = [Processes(index, 3, torch.device("cpu")).share(list(range(7))) for index in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.mark.parametrize("device", ["cup", "meta", "cuda:4711", "hpu", ""])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match=rf"There is no device '{device}'"):
        Processes.current(device)
