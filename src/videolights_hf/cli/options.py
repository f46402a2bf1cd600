"""Options that several commands have: the same name, meaning and help everywhere."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

ComputeDtype = Literal["float32", "bfloat16", "float16"]


def _go_offline(asked: bool) -> None:
    if asked:
        # Libraries read it when they are imported, and the Hub's client may be there already.
        os.environ["HF_HUB_OFFLINE"] = "1"
        if "huggingface_hub" in sys.modules:
            from huggingface_hub import constants

            constants.HF_HUB_OFFLINE = True


def _import_backbone_modules(modules: list[str] | None) -> list[str] | None:
    if modules:
        from videolights_hf.backbones.modules import import_backbone_module

        for module in modules:
            import_backbone_module(module)
    return modules


Backbones = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone",
        metavar="NAME[=PATH_OR_ID]",
        help="A feature backbone (clip, blip2, slowfast, or your own), and its folder or Hub id if it is not the public one. "
        "Repeat in channel order. Default: clip.",
        show_default=False,
    ),
]
BackboneCheckpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone",
        metavar="NAME=PATH_OR_ID",
        help="Folder or Hub id of a feature backbone, if it is neither noted in the dataset nor the public one. "
        "Repeat for several.",
        show_default=False,
    ),
]
BackboneModules = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone-module",
        metavar="FILE.py",
        help="Python file, or installed module, that registers a backbone of your own. Repeat for several. Backbones of "
        "installed packages are found without it.",
        callback=_import_backbone_modules,
        show_default=False,
    ),
]
ClipLength = Annotated[
    float | None, typer.Option(help="Seconds per clip. Default: the dataset's.", show_default=False)
]
DatasetName = Annotated[str, typer.Option(help="How annotations are read and labeled; see docs/data.md.")]
Decoders = Annotated[
    int | None, typer.Option(min=1, help="Videos to decode at the same time. Default: up to 4.", show_default=False)
]
Device = Annotated[
    str | None,
    typer.Option(help="Where to run: cpu, cuda, cuda:1, mps. Default: the first accelerator.", show_default=False),
]
Domains = Annotated[
    list[str] | None,
    typer.Option("--domain", help="Only this domain (TVSum, YouTube Highlights). Repeat for several."),
]
Dtype = Annotated[ComputeDtype, typer.Option(help="Type that models compute in; half precision is for GPUs.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="Annotation file whose videos are left out. Repeat for several."),
]
FeatureData = Annotated[
    str, typer.Option("--data", metavar="PATH_OR_ID", help="Feature dataset: a folder or a Hub dataset.")
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", is_eager=True, callback=_go_offline, help="Download nothing: use files and the cache alone."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe. Repeat for several."),
]


def parse_pairs(arguments: list[str] | None, option: str, form: str) -> dict[str, str]:
    """`NAME=VALUE` arguments of a repeatable option, in order.

    Args:
        arguments: As typed.
        option: Name of the option, for messages.
        form: What an argument should look like, for messages.

    Raises:
        typer.BadParameter: An argument is not a pair, or a name is given twice.
    """
    pairs: dict[str, str] = {}
    for argument in arguments or []:
        name, separator, value = argument.partition("=")
        if not (name and separator and value):
            raise typer.BadParameter(f"{argument!r} is not {form}", param_hint=option)
        if name in pairs:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=option)
        pairs[name] = value
    return pairs


def parse_backbones(arguments: list[str] | None) -> dict[str, str]:
    """Where the backbones of `--backbone` are, in channel order: as given, or the public checkpoint.

    Raises:
        typer.BadParameter: A name is given twice, or nothing follows the equals sign.
        ValueError: A name is unknown, or has no public checkpoint.
    """
    from videolights_hf.backbones import complete_checkpoints

    names = [argument.partition("=")[0] for argument in arguments or ["clip"]]
    if len(set(names)) < len(names):
        raise typer.BadParameter("a backbone is given twice", param_hint="--backbone")
    given = [argument for argument in arguments or [] if "=" in argument]
    return complete_checkpoints(names, parse_pairs(given, "--backbone", "NAME or NAME=PATH_OR_ID"))


def parse_splits(arguments: list[str] | None) -> dict[str, str]:
    """Annotation files by split, from `--annotations SPLIT=FILE`."""
    return parse_pairs(arguments, "--annotations", "SPLIT=FILE, such as train=train.jsonl")
