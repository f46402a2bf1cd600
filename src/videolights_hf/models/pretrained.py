"""What the models of all detectors share: weight initialization, saving with code, uploading."""

import math
import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from ..common.loading import check_weights, no_bars_in_logs
from ..hub.card import load_or_make_model_card
from ..hub.code import auto_map, write_code
from ..hub.push import UPLOAD_ARGUMENTS, push_saved_folder
from .configuration import DetectorConfig
from .linear import LocalConvolution, PackedLinear, XavierLinear, XavierModule, ZeroBiasLinear

_Model = TypeVar("_Model", bound="DetectorPreTrainedModel")


def _initialize_linear(module: nn.Linear | LocalConvolution) -> None:
    bound = module.weight[0].numel() ** -0.5
    if isinstance(module, XavierLinear):
        init.xavier_uniform_(module.weight, gain=math.sqrt(0.5) if isinstance(module, PackedLinear) else 1.0)
    else:
        init.uniform_(module.weight, -bound, bound)
    if isinstance(module, ZeroBiasLinear):
        init.zeros_(module.bias)
    elif module.bias is not None:
        init.uniform_(module.bias, -bound, bound)


class DetectorPreTrainedModel(PreTrainedModel):
    """Weight initialization, saving with code, and the library features that all detectors share."""

    config: DetectorConfig
    base_model_prefix = "model"
    main_input_name = "video_features"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    # Whether labels give a loss, from which it learns.
    takes_labels = True
    _no_split_modules = ["BidirectionalLayer", "TextToVideoLayer", "EncoderLayer", "AnchorDecoderLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        """Initialize as the releases do: Xavier inside transformer and refinement, PyTorch's defaults elsewhere."""
        if isinstance(module, (nn.Linear, LocalConvolution)):
            _initialize_linear(module)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.PReLU):
            init.constant_(module.weight, 0.25)
        elif isinstance(module, XavierModule):
            for parameter in module.parameters(recurse=False):
                init.xavier_uniform_(parameter)
        elif isinstance(module, nn.GRU):
            for parameter in module.parameters(recurse=False):
                init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)

    @classmethod
    def from_pretrained(
        cls: type[_Model],
        pretrained_model_name_or_path: str | os.PathLike | None,
        *args: Any,
        output_loading_info: bool = False,
        allow_missing: bool = False,
        **kwargs: Any,
    ) -> _Model:
        """Load a model whose weights are all there, of the right shapes, and finite.

        Transformers makes up weights that a checkpoint lacks, and a model with such weights answers, too.

        Args:
            pretrained_model_name_or_path: Folder or Hub id.
            *args: As for `PreTrainedModel.from_pretrained`.
            output_loading_info: Also return what transformers tells about the weights.
            allow_missing: Initialize weights that are missing, in order to train them, instead of refusing.
            **kwargs: As for `PreTrainedModel.from_pretrained`.

        Raises:
            OSError: The model does not exist, or weights are missing, have other shapes, or hold NaN or infinity.
        """
        # With `output_loading_info`, which the signature does not tell, this is a pair.
        try:
            with no_bars_in_logs():
                loaded: Any = super().from_pretrained(
                    pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
                )
        except RecursionError as error:
            raise OSError(f"{pretrained_model_name_or_path}: its config.json is damaged ({error}).") from error
        model, info = loaded
        checked = {**info, "missing_keys": set()} if allow_missing else info
        check_weights(model, checked, str(pretrained_model_name_or_path))
        result: Any = (model, info) if output_loading_info else model
        return result

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: dict | None = None,
        push_to_hub: bool = False,
        *,
        include_code: bool = True,
        **kwargs: Any,
    ) -> None:
        """Save weights and configuration, and the code that loads them where this package is not installed.

        Args:
            save_directory: Folder to write; created if it is not there.
            is_main_process: Whether this process writes what all processes share.
            state_dict: Weights to save instead of the model's own.
            push_to_hub: Also upload what is saved to the Hub.
            include_code: Also write the model's Python files, so that `trust_remote_code=True` loads the folder in a
                process without this package.
            **kwargs: Passed to `PreTrainedModel.save_pretrained` (`max_shard_size`, `variant`, ...); with
                `push_to_hub`, also arguments of that method; `repo_id` is the folder's name by default.
        """
        hub_arguments = {name: kwargs.pop(name) for name in UPLOAD_ARGUMENTS if name in kwargs}
        if include_code:
            self.config.auto_map = auto_map(self.config.model_type)
        elif hasattr(self.config, "auto_map"):
            del self.config.auto_map
        # Transformers empties the dictionary that it saves.
        weights = dict(state_dict) if push_to_hub and state_dict is not None else state_dict
        with no_bars_in_logs():
            super().save_pretrained(save_directory, is_main_process, weights, **kwargs)
        if include_code and is_main_process:
            write_code(Path(save_directory), self.config.model_type)
        if push_to_hub and is_main_process:
            repo_id = hub_arguments.pop("repo_id", Path(save_directory).absolute().name)
            # Not in the call above, which would upload before the code is there.
            self.push_to_hub(repo_id, include_code=include_code, state_dict=state_dict, **kwargs, **hub_arguments)

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, include_code: bool = True, **kwargs: Any
    ) -> str:
        """Upload weights, configuration, code and a model card to a Hub repository, made if it does not exist.

        Args:
            repo_id: The repository.
            include_code: Also upload the model's Python files, as `save_pretrained` writes them.
            **kwargs: Arguments of `PreTrainedModel.push_to_hub` (`commit_message`, `commit_description`, `private`,
                `token`, `revision`, `create_pr`, `tags`), and of `save_pretrained`.

        Returns:
            Where the commit can be seen.
        """
        hub_arguments = {name: kwargs.pop(name) for name in UPLOAD_ARGUMENTS if name in kwargs}
        hub_arguments.setdefault("commit_message", f"Upload {type(self).__name__}")
        tags = hub_arguments.pop("tags", None)

        def save(folder: str, full_id: str) -> None:
            self.save_pretrained(folder, include_code=include_code, **kwargs)
            token = hub_arguments.get("token")
            card = load_or_make_model_card(self.config, full_id, tags=tags or (), token=token)
            card.save(os.path.join(folder, "README.md"))

        return push_saved_folder(save, repo_id, **hub_arguments)


__all__ = ["DetectorPreTrainedModel"]
