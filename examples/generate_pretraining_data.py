"""From a folder of videos to a synthetic pretraining corpus and the dataset that training reads.

    python examples/generate_pretraining_data.py videos/ data/qvh --dataset qvhighlights \\
        --annotations train=highlight_train_release.jsonl val=highlight_val_release.jsonl \\
        --exclude highlight_test_release.jsonl --backbones slowfast,clip,blip2 --checkpoints slowfast=slowfast_8x8_r50
    python examples/train.py --recipe pretraining/blip-b --data data/qvh/dataset --set train_split=pretrain \\
        --output runs/pretrained
    python examples/train.py --recipe qvhighlights/videolights-b-pt --data data/qvh/dataset \\
        --init-from runs/pretrained --output runs/finetuned

Frames of the videos are captioned, and the clips around them scored with the caption; videos of every annotated split
but `train`, and those of `--exclude`, are left out. Then features of all videos, captions and annotated queries are
extracted, and gathered in OUTPUT/dataset with the splits `pretrain` and those of `--annotations`.

A run that was interrupted is continued by the same command. Several GPUs, on one machine or several, share the work when
it is started by `accelerate launch` with the same arguments.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
from pathlib import Path
from typing import Any

PRETRAINING_SPLIT = "pretrain"
TRAINING_SPLIT = "train"
COMPUTE_DTYPES = ("float32", "bfloat16", "float16")


def named(argument: str) -> tuple[str, str]:
    """`NAME=VALUE` as a pair."""
    name, separator, value = argument.partition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"{argument!r} is not NAME=VALUE")
    return name, value


def generation_argument(argument: str) -> tuple[str, Any]:
    """`NAME=VALUE` as a pair, the value read as YAML."""
    import yaml

    name, value = named(argument)
    return name, yaml.safe_load(value)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "videos", help="folder (with its sub-folders), quoted pattern, or text file with a path a line"
    )
    parser.add_argument("output", type=Path, help="folder for the corpus, the features and the dataset")
    several = {"nargs": "+", "action": "extend", "default": []}

    data = parser.add_argument_group("annotated data")
    data.add_argument("--annotations", type=named, metavar="SPLIT=FILE", help="annotated splits", **several)
    data.add_argument("--exclude", metavar="FILE", help="annotation files whose videos are left out, too", **several)
    data.add_argument("--dataset", default="custom", help="how annotations are read and labelled: see docs/data.md")
    data.add_argument("--clip-length", type=float, help="seconds a clip; by default the dataset's")

    corpus = parser.add_argument_group("captions and scores")
    corpus.add_argument("--form", default="release", help="release or paper: see docs/pretraining.md")
    corpus.add_argument("--captioner", metavar="PATH_OR_ID", help="by default that of the form")
    corpus.add_argument("--scorer", metavar="PATH_OR_ID", help="by default that of the form")
    corpus.add_argument("--prompt", help="text that captions continue; for a chat model, what it is asked")
    corpus.add_argument(
        "--generation", type=generation_argument, metavar="NAME=VALUE", help="arguments of generate", **several
    )
    corpus.add_argument("--interval-length", type=float, default=10.0, help="seconds between captions")
    corpus.add_argument("--max-duration", type=float, help="longer videos are skipped, in seconds; `inf` skips none")
    corpus.add_argument("--caption-frame-size", type=int, default=384, help="shorter side of captioned frames")
    corpus.add_argument("--clip-frame-size", type=int, default=224, help="side of scored frames")
    corpus.add_argument("--batch-size", type=int, default=32, help="frames that are captioned, or scored, at once")
    corpus.add_argument("--captions-only", action="store_true", help="stop when the corpus is written")

    features = parser.add_argument_group("features")
    features.add_argument("--backbones", default="clip", metavar="NAME,NAME", help="clip, blip2, slowfast")
    features.add_argument("--checkpoints", type=named, metavar="NAME=PATH_OR_ID", help="of backbones", **several)

    features.add_argument("--overwrite", action="store_true", help="replace a dataset of another corpus")

    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; by default the first accelerator there is")
    parser.add_argument(
        "--compute-dtype", default="float32", choices=COMPUTE_DTYPES, help="half precision is for GPUs"
    )
    parser.add_argument("--decoders", type=int, default=4, help="videos that are decoded at the same time")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Caption, score, extract, and build the dataset."""
    import torch

    from videolights_hf.corpus import (
        Captioner,
        candidate_videos,
        generate_corpus,
        get_form,
        get_scorer_class,
        leave_out,
        read_vids,
    )
    from videolights_hf.data import get_dataset_spec, read_annotations
    from videolights_hf.extraction import (
        Processes,
        collect_queries,
        complete_checkpoints,
        extract_feature_dataset,
        find_videos,
        load_backbones,
    )

    annotations = dict(arguments.annotations)
    if PRETRAINING_SPLIT in annotations:
        raise ValueError(f"The split {PRETRAINING_SPLIT!r} is the one that is made: call the annotated one otherwise.")
    form = get_form(arguments.form)
    spec = get_dataset_spec(arguments.dataset)
    if arguments.clip_length is not None:
        spec = dataclasses.replace(spec, clip_length=arguments.clip_length)
    backbones = [name.strip() for name in arguments.backbones.split(",") if name.strip()]
    checkpoints = complete_checkpoints(backbones, dict(arguments.checkpoints))
    processes = Processes.current(arguments.device)
    dtype = getattr(torch, arguments.compute_dtype)

    def report(line: str) -> None:
        if processes.is_main:
            print(line, flush=True)

    rows = {split: read_annotations(path, spec) for split, path in annotations.items()}
    # Rather now than when all captions are made.
    collect_queries(rows)
    excluded = {vid for path in arguments.exclude for vid in read_vids(path)}
    excluded |= {row["vid"] for split, members in rows.items() if split != TRAINING_SPLIT for row in members}
    wanted = {row["vid"] for members in rows.values() for row in members}
    annotated = find_videos(arguments.videos, wanted) if wanted else {}
    videos = candidate_videos(find_videos(arguments.videos), annotated)
    to_caption, left_out = leave_out(videos, excluded)
    report(f"{len(videos)} videos in {arguments.videos}; {left_out}")
    if not to_caption:
        raise ValueError(f"All {len(videos)} videos are left out: there is none to learn from.")

    captioner = Captioner.from_pretrained(
        arguments.captioner or form.captioner,
        processes.device,
        dtype,
        prompt=arguments.prompt,
        generation=dict(arguments.generation),
        batch_size=arguments.batch_size,
    )
    scorer = get_scorer_class(form.scoring).from_pretrained(
        arguments.scorer or form.scorer, processes.device, dtype, batch_size=arguments.batch_size
    )
    corpus = generate_corpus(
        to_caption,
        arguments.output,
        captioner,
        scorer,
        form.name,
        interval_length=arguments.interval_length,
        clip_length=spec.clip_length,
        caption_frame_size=arguments.caption_frame_size,
        clip_frame_size=arguments.clip_frame_size,
        max_duration=arguments.max_duration,
        num_threads=arguments.decoders,
        processes=processes,
    )
    for failure in corpus.failed:
        report(f"not captioned: {failure.vid}: {failure.error}")
    report(f"{corpus.path}: {corpus}")
    if not corpus.num_captions:
        raise ValueError(f"No caption was made of {len(to_caption)} videos.")
    if arguments.captions_only:
        return
    # The backbones need the memory that these hold.
    del captioner, scorer
    gc.collect()
    torch.cuda.empty_cache()

    dataset_dir = arguments.output / "dataset"
    tables, summary = extract_feature_dataset(
        dataset_dir,
        {PRETRAINING_SPLIT: corpus.path, **annotations},
        videos,
        arguments.output / "features",
        load_backbones(checkpoints, processes.device, dtype),
        dataset={PRETRAINING_SPLIT: "pretraining", **dict.fromkeys(annotations, spec)},
        clip_length=spec.clip_length,
        checkpoints=checkpoints,
        overwrite=arguments.overwrite,
        num_threads=arguments.decoders,
        processes=processes,
    )
    report(f"Features: {summary}")
    if tables is not None:
        report(f"{dataset_dir}: " + ", ".join(f"{len(table)} {name}" for name, table in tables.items()))


def main() -> None:
    """Run, and end expected errors with one line."""
    arguments = parse_arguments()
    try:
        run(arguments)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
