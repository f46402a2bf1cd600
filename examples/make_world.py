"""Render a folder of the made-up world: mp4 videos and their annotations in the QVHighlights format.

python examples/make_world.py runs/world/train --split train --num-videos 600
python examples/make_world.py runs/world/validation --split validation --num-videos 50
"""

from __future__ import annotations

import argparse
from pathlib import Path

from videolights_hf.demo import SPLITS, make_world


def main() -> None:
    """Parses the arguments and renders the videos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write the videos and annotations.jsonl to")
    parser.add_argument("--split", choices=SPLITS, default="train", help="family of videos; no two share a video")
    parser.add_argument("--num-videos", type=int, default=600)
    parser.add_argument("--first", type=int, default=0, help="number of the first video within its split")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world")
    args = parser.parse_args()

    indices = range(args.first, args.first + args.num_videos)
    annotations = make_world(args.folder, args.split, indices, seed=args.seed, show_progress=True)
    print(f"Wrote {args.num_videos} videos and {len(annotations)} queries to {args.folder}")


if __name__ == "__main__":
    main()
