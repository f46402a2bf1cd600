"""The model of a run and the processor beside it, fitted to the feature dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..common.loading import load_complete_model, load_config
from ..data.dataset import table_backbones
from ..data.provenance import read_backbone_checkpoints
from ..data.tables import AUDIO, VIDEO_PREFIX, VIDEOS, load_feature_dataset
from ..inference.processing import VideoLightsProcessor
from ..models.configuration import DetectorConfig
from ..models.detector import DetectorForMomentRetrieval
from ..models.families import model_class
from ..models.zero_shot.configuration import ZeroShotConfig
from ..models.zero_shot.modeling import ZeroShotForMomentRetrieval
from .recipes import Recipe

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunData:
    """The data that a run is trained and evaluated on.

    Attributes:
        tables: Feature dataset, from `load_feature_dataset`.
        eval_tables: Feature dataset to evaluate on, if it is another one (pretraining is evaluated on QVHighlights).
        backbone_checkpoints: Folder or Hub id of the backbones that computed the features, by name, so that the
            trained model runs on raw videos; folders are copied beside it. Without them, the public ones are named.
    """

    tables: Mapping[str, Dataset]
    eval_tables: Mapping[str, Dataset] | None = None
    backbone_checkpoints: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(
        cls, data: str, eval_data: str | None = None, backbone_checkpoints: Mapping[str, str] | None = None
    ) -> RunData:
        """Load feature datasets.

        Args:
            data: A folder, or a dataset repository on the Hub.
            eval_data: The dataset to evaluate on, if it is another one.
            backbone_checkpoints: Where backbones are, on top of what the dataset's own notes say.
        """
        return cls(
            load_feature_dataset(data),
            load_feature_dataset(eval_data) if eval_data else None,
            {**read_backbone_checkpoints(data), **(backbone_checkpoints or {})},
        )

    @property
    def evaluated(self) -> Mapping[str, Dataset]:
        """The dataset to evaluate on."""
        return self.tables if self.eval_tables is None else self.eval_tables


def fit_config_to_data(recipe: Recipe, tables: Mapping[str, Dataset]) -> DetectorConfig:
    """The recipe's model, with the backbone and audio widths of the data.

    Raises:
        ValueError: The data lacks a backbone of the recipe, or its audio.
    """
    config = recipe.model_config()
    fitted: dict[str, list | int] = {}
    for name, present in zip(("video_backbones", "text_backbones"), table_backbones(tables)):
        widths = dict(present)
        wanted = getattr(config, name)
        missing = [backbone for backbone, _ in wanted if backbone not in widths]
        if missing:
            raise ValueError(
                f"Recipe {recipe.name} needs the {name} {', '.join(missing)}; the data has {', '.join(widths)}. "
                f"Build the data with them, or choose others with {name}=[[NAME, WIDTH], ...]."
            )
        found = [[backbone, widths[backbone]] for backbone, _ in wanted]
        if found != wanted:
            logger.info("The data has other widths than the recipe's %s: %s is used.", name, found)
        fitted[name] = found
    fitted["audio_dim"] = _fit_audio_dim(recipe.name, config.audio_dim, tables)
    return recipe.model_config(**fitted)


def build_model(config: DetectorConfig, init_from: str | Path | None = None) -> DetectorForMomentRetrieval:
    """A new model, or one with the weights of a checkpoint.

    Args:
        config: The model's configuration; it replaces that of the checkpoint.
        init_from: Folder or Hub repository of a checkpoint, such as one of a pretraining recipe. Parts that the
            checkpoint's model does not have are new.

    Raises:
        ValueError: The checkpoint was trained on other features, or is a model of other sizes.
        OSError: The checkpoint does not exist, or its weights are incomplete, damaged or not finite.
    """
    if init_from is None:
        return model_class(config)(config)
    trained = load_model(init_from)
    if not trained.takes_labels:
        raise ValueError(f"{init_from} is the zero-shot detector: it has no weights to start from.")
    for name in ("video_backbones", "text_backbones", "audio_dim"):
        if getattr(trained.config, name) != getattr(config, name):
            raise ValueError(
                f"{init_from} was trained with the {name} {getattr(trained.config, name)}, this run has "
                f"{getattr(config, name)}: features and their order must be the same."
            )
    model = model_class(config)(config)
    weights, wanted = trained.state_dict(), model.state_dict()
    shared = {name: value for name, value in weights.items() if name in wanted}
    other = [name for name, value in shared.items() if value.shape != wanted[name].shape]
    if other:
        raise ValueError(
            f"{init_from} has a {other[0]} of shape {tuple(shared[other[0]].shape)}, this run's is "
            f"{tuple(wanted[other[0]].shape)}: train with the sizes of the checkpoint."
        )
    model.load_state_dict(shared, strict=False)
    return model


def load_model(checkpoint: str | Path) -> DetectorForMomentRetrieval:
    """A trained model, with all of its weights, or the zero-shot detector.

    Raises:
        ValueError: It is not a detector of this package.
        OSError: The checkpoint does not exist, or its weights are incomplete, damaged or not finite.
    """
    if Path(checkpoint).is_dir() and not Path(checkpoint, "config.json").is_file():
        raise FileNotFoundError(f"{checkpoint} is not a model folder: it has no config.json.")
    config = load_config(checkpoint)
    if config.model_type == ZeroShotConfig.model_type:
        # It has all that evaluation asks of a detector.
        return cast("DetectorForMomentRetrieval", load_complete_model(ZeroShotForMomentRetrieval, checkpoint))
    if not isinstance(config, DetectorConfig):
        raise ValueError(f"{checkpoint} is a model of the type {config.model_type!r}, which finds no moments.")
    return load_complete_model(model_class(config), checkpoint)


def make_processor(
    config: DetectorConfig, backbone_checkpoints: Mapping[str, str] | None = None
) -> VideoLightsProcessor:
    """The processor of a model, with the backbones that computed its training features.

    Args:
        config: The model's configuration.
        backbone_checkpoints: Backbone name to folder or Hub id; those that the model does not use are left out. Empty
            or `None`: the public ones.

    Raises:
        FileNotFoundError: A checkpoint is an absolute path, and no folder is there.
    """
    used = {name for name, _ in [*config.video_backbones, *config.text_backbones]}
    checkpoints = {name: path for name, path in (backbone_checkpoints or {}).items() if name in used}
    for name, path in checkpoints.items():
        if os.path.isabs(path) and not os.path.isdir(path):
            raise FileNotFoundError(
                f"The backbone {name!r} that computed the features is no longer in {path}: give its present folder or "
                "Hub id."
            )
    return VideoLightsProcessor.from_config(config, checkpoints or None)


def _fit_audio_dim(recipe_name: str, wanted: int, tables: Mapping[str, Dataset]) -> int:
    """Width of the data's audio features if the recipe wants any, else 0."""
    column = f"{VIDEO_PREFIX}{AUDIO}"
    present = tables[VIDEOS][0][column]["shape"][1] if column in tables[VIDEOS].column_names else 0
    if wanted and not present:
        raise ValueError(
            f"Recipe {recipe_name} needs audio features (audio_dim={wanted}), the data has none: build it with an "
            "audio folder."
        )
    if present and not wanted:
        logger.warning("The data has audio features, which the recipe leaves out: audio_dim=%d uses them.", present)
        return 0
    if present != wanted:
        logger.info("The data has another width than the recipe's audio_dim: %d is used.", present)
    return present
