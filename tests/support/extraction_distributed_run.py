"""`videolights extract`, noting what each process does: started by `accelerate launch` in the tests."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from videolights_hf.cli.main import app
from videolights_hf.common.processes import Processes
from videolights_hf.extraction.store import FeatureFolder


def run(output: Path, arguments: Sequence[str]) -> None:
    """Run the command; each process notes how many there are, and how many videos it wrote."""
    written = []
    write = FeatureFolder.write

    def noting(folder: FeatureFolder, item_id, **arrays):
        written.append(folder.path.name)
        write(folder, item_id, **arrays)

    FeatureFolder.write = noting
    try:
        app(["extract", *arguments], standalone_mode=False)
    finally:
        FeatureFolder.write = write
    processes = Processes.current("cpu")
    seen = {"count": processes.count, "videos": written.count("clip_features")}
    (output / f"seen-{processes.index}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), sys.argv[2:])
