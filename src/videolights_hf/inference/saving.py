"""Saving, loading and uploading of processors and pipelines, whose backbones lie beside them."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from huggingface_hub.errors import HFValidationError
from transformers import ProcessorMixin
from transformers.pipelines import Pipeline

from ..backbones.store import BackboneStore
from ..hub.card import load_or_make_model_card
from ..hub.push import UPLOAD_ARGUMENTS, push_saved_folder

_Processor = TypeVar("_Processor", bound="SavedProcessor")


class SavedProcessor(ProcessorMixin):
    """A processor that is saved with the backbones that live in no Hub repository of their own."""

    _backbones: BackboneStore

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs) -> list[str]:
        """Write the processor, and beside it the backbones that live in no Hub repository of their own.

        Attached backbones, and those loaded from a folder, go to `backbones/<name>` inside `save_directory`, and the
        saved settings refer to them by that relative path: the folder, or the repository that it is uploaded to, holds
        all that is needed.

        Args:
            save_directory: The folder; it is made if it does not exist.
            push_to_hub: Upload it to the Hub afterwards.
            **kwargs: With `push_to_hub`, its arguments; `repo_id` is the folder's name by default.

        Returns:
            The files written, the backbones' apart.
        """
        directory = os.fspath(save_directory)
        self._backbones.save_pretrained(directory)
        files = super().save_pretrained(directory)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", os.path.basename(os.path.abspath(directory))), **kwargs)
        return files

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, commit_message: str = "Upload processor", **kwargs: Any
    ) -> str:
        """Upload the processor and the backbones beside it to a Hub repository, which is made if it does not exist.

        Args:
            repo_id: The repository.
            commit_message: Message of the commit.
            **kwargs: `commit_description`, `private`, `token`, `revision` and `create_pr`, as for models.

        Returns:
            The address of the commit.
        """
        return push_saved_folder(
            lambda folder, _: self.save_pretrained(folder), repo_id, commit_message=commit_message, **kwargs
        )

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls: type[_Processor], pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> _Processor:
        """Load a processor from a folder or a Hub repository; its backbones are loaded when they are needed.

        Args:
            pretrained_model_name_or_path: Folder or Hub id.
            **kwargs: Passed to `ProcessorMixin.from_pretrained` (`revision`, `subfolder`, `token`, ...); settings of
                the processor given here override the saved ones.

        Raises:
            OSError: No processor is there.
            ValueError: Its file is damaged.
        """
        try:
            processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        except (AttributeError, TypeError, RecursionError) as error:
            # A list where transformers expects settings, a setting of another kind, or brackets without end.
            raise ValueError(
                f"{pretrained_model_name_or_path}: processor_config.json is damaged ({error}). Save the processor again."
            ) from error
        processor._backbones.set_home(pretrained_model_name_or_path, kwargs)
        return processor

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs) -> tuple[dict, dict]:
        """Read the saved settings; transformers would take a missing file for a processor without settings."""
        try:
            settings, kwargs = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        except HFValidationError as error:
            raise OSError(
                f"{pretrained_model_name_or_path} is neither a folder nor the id of a Hub repository."
            ) from error
        if not settings:
            raise OSError(
                f"{pretrained_model_name_or_path} holds no processor: there is no processor_config.json. Write one with "
                "`VideoLightsProcessor.from_config(model.config).save_pretrained(...)`."
            )
        return settings, kwargs


class SavedPipeline(Pipeline):
    """A pipeline that is saved as one folder: model, processor with its backbones, and code."""

    processor: SavedProcessor

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs) -> None:
        """Save the model, the processor with its backbones, and the code, so that one folder is a whole pipeline.

        Args:
            save_directory: The folder; it is made if it does not exist.
            push_to_hub: Also upload what is saved to the Hub.
            **kwargs: Passed to the model's `save_pretrained`; with `push_to_hub`, also arguments of that method;
                `repo_id` is the folder's name by default.
        """
        repo_id = kwargs.pop("repo_id", os.path.basename(os.path.abspath(save_directory)))
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)
        if push_to_hub:
            self.push_to_hub(repo_id, **kwargs)

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, commit_message: str = "Upload pipeline", tags: list[str] | None = None, **kwargs: Any
    ) -> str:
        """Upload the whole pipeline and a model card to a Hub repository, which is made if it does not exist.

        Args:
            repo_id: The repository.
            commit_message: Message of the commit.
            tags: Tags to add to the repository's model card.
            **kwargs: `commit_description`, `private`, `token`, `revision` and `create_pr`, as for models; the others
                are passed to the model's `save_pretrained` (`include_code`, `max_shard_size`, ...).

        Returns:
            The address of the commit.
        """
        upload = {name: kwargs.pop(name) for name in UPLOAD_ARGUMENTS if name in kwargs}

        def save(folder: str, full_id: str) -> None:
            self.save_pretrained(folder, **kwargs)
            checkpoints = self.processor.to_dict()["backbone_checkpoints"]
            card = load_or_make_model_card(
                self.model.config,
                full_id,
                backbone_checkpoints=checkpoints,
                tags=tags or (),
                token=upload.get("token"),
            )
            card.save(os.path.join(folder, "README.md"))

        return push_saved_folder(save, repo_id, commit_message=commit_message, **upload)


__all__ = ["SavedPipeline", "SavedProcessor"]
