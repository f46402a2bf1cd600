"""Features of many videos, as feature files or as the dataset that training reads.

    python examples/extract_features.py videos/ features/ --backbone clip --backbone blip2 \\
        --backbone slowfast=slowfast_8x8_r50 --annotations train=train.jsonl --annotations val=val.jsonl \\
        --dataset-output data/mine

For several GPUs, on one machine or several: `accelerate launch examples/extract_features.py ...` with the same arguments.
This is `videolights extract` for a checkout; `--help` lists all options.
"""

from __future__ import annotations

import sys

from videolights_hf.cli.main import app

if __name__ == "__main__":
    app(["extract", *sys.argv[1:]])
