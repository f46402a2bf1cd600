"""From annotation files and feature folders to a feature dataset on disk, and to the Hub.

    python examples/prepare_dataset.py features/qvhighlights --dataset qvhighlights \\
        --annotations train=highlight_train_release.jsonl val=highlight_val_release.jsonl \\
        --video-features slowfast=DIR clip=DIR blip2=DIR --text-features clip=DIR blip2=DIR --num-proc 4

The order of the backbones is the order of their channels. An interrupted run is continued by the same command.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from pathlib import Path

from videolights_hf.data import (
    DATASETS,
    build_feature_dataset,
    export_parquet,
    get_dataset_spec,
    push_feature_dataset,
)
from videolights_hf.data.build import REPORT_FILE


def named_path(argument: str) -> tuple[str, str]:
    """`NAME=PATH` as a pair."""
    name, separator, path = argument.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{argument!r} is not NAME=PATH")
    return name, path


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", help="folder of the dataset to be written")
    parser.add_argument("--dataset", default="qvhighlights", choices=sorted(DATASETS))
    pairs = {"type": named_path, "nargs": "+", "metavar": "NAME=PATH"}
    parser.add_argument("--annotations", required=True, help="split=JSON Lines file", **pairs)
    parser.add_argument("--video-features", required=True, help="backbone=folder, in channel order", **pairs)
    parser.add_argument("--text-features", required=True, help="encoder=folder, in channel order", **pairs)
    parser.add_argument("--audio-features", help="folder of optional audio features")
    parser.add_argument("--clip-length", type=float, help="seconds per clip, where it is not the dataset's usual one")
    parser.add_argument("--strict", action="store_true", help="fail if any feature file cannot be used")
    parser.add_argument(
        "--length-tolerance", type=int, default=2, help="clips that features may be off the annotation"
    )
    parser.add_argument("--num-proc", type=int, default=1, help="processes that read in parallel")
    parser.add_argument("--overwrite", action="store_true", help="build again where there is a dataset already")
    parser.add_argument("--parquet", metavar="FOLDER", help="also write Parquet files, for streaming")
    parser.add_argument("--push-to-hub", metavar="REPO_ID", help="also upload to this dataset repository")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    return parser.parse_args()


def main() -> None:
    """Parse, build, export, upload, report."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    spec = get_dataset_spec(arguments.dataset)
    if arguments.clip_length is not None:
        spec = dataclasses.replace(spec, clip_length=arguments.clip_length)
    try:
        tables = build_feature_dataset(
            arguments.output_dir,
            annotations=dict(arguments.annotations),
            video_folders=dict(arguments.video_features),
            text_folders=dict(arguments.text_features),
            audio_folder=arguments.audio_features,
            dataset=spec,
            strict=arguments.strict,
            num_proc=arguments.num_proc,
            length_tolerance=arguments.length_tolerance,
            overwrite=arguments.overwrite,
        )
        if arguments.parquet:
            export_parquet(tables, arguments.parquet)
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    if arguments.push_to_hub:
        push_feature_dataset(tables, arguments.push_to_hub, private=arguments.private)

    report = json.loads(Path(arguments.output_dir, REPORT_FILE).read_text())
    print(f"{'table':<12}{'annotated':>10}{'written':>10}")
    for name, counts in {"videos": report["videos"], **report["queries"]}.items():
        print(f"{name:<12}{counts['annotated']:>10}{counts['written']:>10}")
    print(
        f"{len(report['problems'])} feature files could not be used; {REPORT_FILE} in {arguments.output_dir} names them"
    )


if __name__ == "__main__":
    main()
