"""Features of a corpus of videos, as feature files or as the dataset that training reads.

    python examples/extract_features.py videos/ features/ --backbones clip,blip2,slowfast \\
        --checkpoints slowfast=slowfast_8x8_r50 --annotations train=train.jsonl --annotations val=val.jsonl \\
        --dataset-output data/mine

Several GPUs, on one machine or several: `accelerate launch examples/extract_features.py ...` with the same arguments.
The command `videolights extract` is the same, and `--help` tells all options.
"""

from __future__ import annotations

import sys

from videolights_hf.cli.main import app

if __name__ == "__main__":
    app(["extract", *sys.argv[1:]])
