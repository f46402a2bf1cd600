"""The gradient of one batch that two processes share: started by `accelerate launch` in the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from tests.support.factories import tiny_model
from tests.support.gradients import LOSS_MEMBERS, WITHOUT_DROPOUT, batch_of_pairs, gradient_of, part_of


def main(output: Path) -> None:
    """Write the gradients that two processes agree on, by formulation, and how many processes there were."""
    accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    rows = slice(2 * accelerator.process_index, 2 * accelerator.process_index + 2)
    gradients = {}
    for name, members in LOSS_MEMBERS.items():
        model = tiny_model(**WITHOUT_DROPOUT, **members)
        gradients[name] = gradient_of(model, part_of(*batch_of_pairs(model.config), rows), accelerator)
    seen = {"world_size": accelerator.num_processes, "gradients": gradients}
    torch.save(seen, output / f"seen-{accelerator.process_index}.pt")
    accelerator.end_training()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
