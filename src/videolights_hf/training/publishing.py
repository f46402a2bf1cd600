"""What `Trainer` pushes to the Hub: what users of the repository need, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

from huggingface_hub import HfApi
from transformers import Trainer
from transformers.trainer_utils import HubStrategy, SaveStrategy
from transformers.utils.hub import PushInProgress

from ..hub.card import CardSettings
from ..hub.publish import PREDICTION_FILES, PUBLISHED_FILES, write_card
from ..hub.records import read_record
from .arguments import VideoLightsTrainingArguments

# What a checkpoint holds beside the weights is for resuming.
_OF_CHECKPOINT = ("config.json", "*.safetensors", "*.safetensors.index.json", "*_videolights.py")


class PublishingTrainer(Trainer):
    """Pushes weights with their code, processor, recipe, results and a card, from the first checkpoint on.

    Transformers would copy the weights alone from a checkpoint, upload the pickled arguments, and write a card of its own.
    """

    args: VideoLightsTrainingArguments
    push_in_progress: Any

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        args = self.args
        if not self.is_world_process_zero() or args.hub_strategy == HubStrategy.END:
            return
        running = self.push_in_progress
        if running is not None and not running.is_done() and not args.hub_always_push:
            return
        folder = Path(str(args.output_dir))
        for pattern in _OF_CHECKPOINT:
            for path in Path(checkpoint_folder).glob(pattern):
                shutil.copy(path, folder / path.name)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)
        by_step = args.save_strategy == SaveStrategy.STEPS
        progress = f"step {self.state.global_step}" if by_step else f"epoch {int(self.state.epoch or 0)}"
        jobs: list[Any] = [self._upload(f"Training in progress, {progress}", run_as_future=True)]
        if args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            is_last = args.hub_strategy == HubStrategy.CHECKPOINT
            jobs.append(
                HfApi(token=args.hub_token).upload_folder(
                    repo_id=str(self.hub_model_id),
                    folder_path=checkpoint_folder,
                    path_in_repo="last-checkpoint" if is_last else Path(checkpoint_folder).name,
                    commit_message=f"Training in progress, {progress}, checkpoint",
                    ignore_patterns=["training_args.bin"],
                    run_as_future=True,
                    revision=args.hub_revision,
                )
            )
        if running is None or running.is_done():
            self.push_in_progress = PushInProgress(cast(Any, jobs))
        else:
            running.jobs.extend(jobs)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the model and upload the output folder's published files.

        Args:
            commit_message: Message of the commit.
            blocking: Return when the upload has finished.
            token: Access token; by default that of the arguments.
            revision: Branch to push to.
            private: Whether a new repository is private.
            **kwargs: `tags`, for the card.

        Returns:
            The commit, or a future of it with `blocking=False`; `None` on processes that do not push.
        """
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self._finish_current_push()
        message = commit_message or "End of training"
        return self._upload(
            message, run_as_future=not blocking, token=token, revision=revision, tags=kwargs.get("tags")
        )

    def _upload(
        self,
        message: str,
        *,
        run_as_future: bool,
        token: str | None = None,
        revision: str | None = None,
        tags: list[str] | None = None,
    ) -> Any:
        folder = Path(str(self.args.output_dir))
        write_card(folder, str(self.hub_model_id), read_record(folder), CardSettings(tags=tags or ()))
        upload: Any = HfApi(token=token or self.args.hub_token).upload_folder
        return upload(
            repo_id=str(self.hub_model_id),
            folder_path=folder,
            commit_message=message,
            run_as_future=run_as_future,
            allow_patterns=[*PUBLISHED_FILES, *(PREDICTION_FILES if self.args.push_predictions else ())],
            ignore_patterns=["checkpoint-*"],
            revision=revision or self.args.hub_revision,
        )
