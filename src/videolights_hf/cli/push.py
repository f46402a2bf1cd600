"""`videolights push`: a trained, converted or saved folder onto the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import quiet_transformers


def push(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="What training, save_pretrained or `videolights convert` wrote.")
    ],
    repository: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="The repository. It is made if it does not exist.")
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Push to this branch. It is made if it does not exist.")
    ] = None,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of pushing to the branch.")
    ] = False,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Message of the commit.")] = None,
    predictions: Annotated[bool, typer.Option("--predictions", help="Upload the prediction files, too.")] = False,
    weights_license: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="ID",
            help="License of the weights, as the Hub names it. Default: the card names none.",
        ),
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Tag in the card. Repeat for several.")] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(metavar="ORG/DATASET", help="The benchmark's dataset on the Hub, to report results to."),
    ] = None,
) -> None:
    """Upload a model folder to the Hub: weights, code, processor, backbones, recipe, results, and a card.

    The card is made from what the folder records. A folder with one model per domain goes to one repository, each model
    in a folder of its domain's name. The local folder stays as it is if the upload fails: repeat the command.

    [bold]Example[/bold]

        videolights push runs/qvh-b someone/videolights-b-qvhighlights --license cc-by-nc-sa-4.0
    """
    from videolights_hf.hub.card import CardSettings
    from videolights_hf.hub.publish import model_folders, push_folder
    from videolights_hf.hub.records import read_record

    records = {name: record for name, path in model_folders(folder).items() if (record := read_record(path))}
    settings = CardSettings(weights_license=weights_license, tags=tag or (), benchmark_id=benchmark)
    upload = {"private": private or None, "revision": revision, "create_pr": create_pr or None}
    if message:
        upload["commit_message"] = message
    with quiet_transformers():
        commit = push_folder(
            folder, repository, settings=settings, records=records, with_predictions=predictions, **upload
        )
    typer.echo(commit.pr_url or commit.commit_url)
