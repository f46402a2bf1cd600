"""Find moments in a video of your own, from Python.

    python examples/predict.py holiday.mp4 "a dog runs on the beach" "people eat" --model path/to/checkpoint

The video is encoded once for all sentences, and may be of any length. The command line does the same, and writes JSON
and clips as well: `videolights predict --help`.
"""

from __future__ import annotations

import argparse

from transformers import pipeline

import videolights_hf  # noqa: F401  registers the pipeline
from videolights_hf.visualization.moments import format_time, plot_moments

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("video", help="video file")
parser.add_argument("sentences", nargs="+", metavar="sentence", help="what to look for")
parser.add_argument("--model", required=True, help="model folder, or its id on the Hub")
parser.add_argument("--device", help="where to run, such as cpu or cuda:0; by default the first accelerator there is")
parser.add_argument("--picture", default="moments.png", help="where to draw the result")
args = parser.parse_args()

finder = pipeline("video-moment-retrieval", model=args.model, device=args.device)
results = finder(args.video, args.sentences, top_k=3)

for result in results:
    print(result["query"])
    for moment in result["moments"]:
        start, end = format_time(moment["start"], decimals=1), format_time(moment["end"], decimals=1)
        print(f"  {start} to {end}  score {moment['score']:.2f}")
    best = max(range(len(result["saliency"])), key=result["saliency"].__getitem__)
    print(f"  best highlight at {format_time(best * result['clip_length'], decimals=1)}")

plot_moments(results, args.video).savefig(args.picture, dpi=150)
print(f"Wrote {args.picture}")
