"""Exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

EMA_FILE = "ema.safetensors"


class WeightAverage:
    """Exponential moving average of the parameters: after each step, average += (1 - decay) * (weights - average).

    Args:
        model: The model whose weights are averaged; the average starts as a copy of them.
        decay: In (0, 1), such as 0.999.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = dict(model.named_parameters())
        self._average = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present weights."""
        weights = [parameter.detach() for parameter in self._parameters.values()]
        torch._foreach_lerp_(list(self._average.values()), weights, 1 - self.decay)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Overwrite the model's weights with the average."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self._average[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights inside the context, and its own again afterwards."""
        own = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.copy_to_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(own[name])

    def save(self, folder: str | Path) -> None:
        """Write the average to a folder."""
        save_file({name: value.contiguous() for name, value in self._average.items()}, Path(folder) / EMA_FILE)

    def load(self, folder: str | Path) -> None:
        """Read the average that `save` wrote.

        Raises:
            FileNotFoundError: The folder has none.
            ValueError: It belongs to another model.
        """
        path = Path(folder) / EMA_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} has no {EMA_FILE}: it was saved without `ema_decay`. Resume without it."
            )
        saved = load_file(path)
        if saved.keys() != self._average.keys():
            raise ValueError(f"{path} holds the average of another model: the parameter names differ.")
        for name, value in self._average.items():
            value.copy_(saved[name])
