"""From subtitle files to the ASR corpus, the baseline of synthetic captions: what is said in a video as queries.

    python examples/convert_subtitles.py subtitles/ asr.jsonl --videos videos/ --exclude val.jsonl test.jsonl

Subtitles are `.srt`, `.vtt` or `.jsonl` files, named by their video (`{vid}.vtt`, `{vid}.en.vtt`); a line of a `.jsonl`
file has `text`, `start`, and `end` or `duration`, and may have a `vid`. Without the videos at hand, their lengths come
from `--durations`, JSON Lines with `vid` and `duration` such as annotation files are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subtitles", help="folder (with its sub-folders), quoted pattern, or a file")
    parser.add_argument("output", type=Path, help="JSON Lines file to write, in the annotation format")
    lengths = parser.add_mutually_exclusive_group(required=True)
    lengths.add_argument("--videos", help="folder, quoted pattern or list of the videos, whose lengths are read")
    lengths.add_argument("--durations", metavar="FILE", nargs="+", help="annotation files, whose lengths are taken")
    parser.add_argument(
        "--exclude", metavar="FILE", nargs="+", default=[], help="annotation files whose videos are left out"
    )
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Convert, and report."""
    from videolights_hf.corpus import (
        annotated_durations,
        convert_subtitles,
        find_subtitles,
        leave_out,
        read_durations,
        read_vids,
    )

    files = find_subtitles(arguments.subtitles)
    excluded = {vid for path in arguments.exclude for vid in read_vids(path)}
    if arguments.videos:
        from videolights_hf.extraction import find_videos

        durations, failed = read_durations(find_videos(arguments.videos))
        for failure in failed:
            print(f"not read: {failure.vid}: {failure.error}")
    else:
        durations = {
            vid: seconds for path in arguments.durations for vid, seconds in annotated_durations(path).items()
        }
    kept, left_out = leave_out(durations, excluded)
    print(f"{len(durations)} videos; {left_out}")
    print(f"{arguments.output}: {convert_subtitles(files, kept, arguments.output)}")


def main() -> None:
    """Run, and end expected errors with one line."""
    arguments = parse_arguments()
    try:
        run(arguments)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
