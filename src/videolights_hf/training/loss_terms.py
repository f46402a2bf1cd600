"""Averages of loss terms over a logging window, kept on the device until they are read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator


class LossTerms:
    """Running mean of the loss terms of the batches since the last `pop`.

    Adding costs no wait for the device; reading waits once, whatever the number of terms and processes.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: torch.Tensor | None = None
        self._count = 0

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        """Add the terms of one batch, scalars by name; all batches of a window have the same names."""
        values = torch.stack([terms[name].detach().float() for name in sorted(terms)])
        if self._sums is None:
            self._names, self._sums = sorted(terms), values
        else:
            self._sums = self._sums + values
        self._count += 1

    def pop(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over batches and processes by name, empty if there were none; starts a new window.

        Every process must call it, after the same number of batches.
        """
        if self._sums is None:
            return {}
        means = accelerator.reduce(self._sums / self._count, reduction="mean").tolist()
        self._sums, self._count = None, 0
        return dict(zip(self._names, means))
