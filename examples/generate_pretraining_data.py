"""From a folder of videos to a synthetic pretraining corpus and the dataset that training reads.

    python examples/generate_pretraining_data.py videos/ data/qvh --dataset qvhighlights \\
        --annotations train=highlight_train_release.jsonl --annotations val=highlight_val_release.jsonl \\
        --exclude highlight_test_release.jsonl \\
        --backbone slowfast=slowfast_8x8_r50 --backbone clip --backbone blip2
    python examples/train.py --recipe pretraining/blip-b --data data/qvh/dataset --set train_split=pretrain \\
        --output runs/pretrained
    python examples/train.py --recipe qvhighlights/videolights-b-pt --data data/qvh/dataset \\
        --init-from runs/pretrained --output runs/finetuned

Frames of the videos are captioned, and the clips around them scored with the caption; videos of every annotated split
but `train`, and those of `--exclude`, are left out. Then features of all videos, captions and annotated queries are
extracted, and gathered in OUTPUT/dataset with the splits `pretrain` and those of `--annotations`.

Run the same command again to continue an interrupted run; start it with `accelerate launch` to share the work between
GPUs. `videolights generate` has more options, such as other captioners, scorers and lengths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videolights_hf.cli.options import parse_backbones, parse_pairs
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.common.processes import Processes
from videolights_hf.corpus import CorpusModels, CorpusSettings, PretrainingSources, generate_pretraining_data
from videolights_hf.extraction import ExtractionSettings


def main(
    videos: Annotated[str, typer.Argument(help="Folder, quoted pattern or list of videos.")],
    output: Annotated[Path, typer.Argument(help="Folder for the corpus, the features and the dataset.")],
    annotations: Annotated[list[str], typer.Option(metavar="SPLIT=FILE")] = [],  # noqa: B006
    exclude: Annotated[list[str], typer.Option(help="Annotation file whose videos are left out.")] = [],  # noqa: B006
    dataset: Annotated[str, typer.Option(help="How annotations are read and labeled.")] = "custom",
    backbone: Annotated[list[str], typer.Option(metavar="NAME[=PATH_OR_ID]")] = [],  # noqa: B006
    form: Annotated[str, typer.Option(help="release or paper.")] = "release",
    captioner: Annotated[str | None, typer.Option(help="Folder or Hub id; by default the form's.")] = None,
    scorer: Annotated[str | None, typer.Option(help="Folder or Hub id; by default the form's.")] = None,
    device: Annotated[str | None, typer.Option(help="By default the first accelerator.")] = None,
) -> None:
    """Caption, score, extract, and build the dataset."""
    generate_pretraining_data(
        PretrainingSources(videos, parse_pairs(annotations, "--annotations", "SPLIT=FILE"), exclude, dataset),
        output,
        CorpusSettings(form),
        CorpusModels(captioner, scorer),
        ExtractionSettings(checkpoints=parse_backbones(backbone), processes=Processes.current(device)),
    )


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
