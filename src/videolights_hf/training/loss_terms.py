"""Averages of loss terms over a logging window, kept on the device until they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator


class LossTerms:
    """Running mean of the loss terms of the batches since the last `pop`.

    Adding does not wait for the device; reading waits once, for all terms and processes together.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: torch.Tensor | None = None
        self._count = 0

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        """Add the terms of one batch: scalars by name, the same names in all batches of a window."""
        values = torch.stack([terms[name].detach().float() for name in sorted(terms)])
        if self._sums is None:
            self._names, self._sums = sorted(terms), values
        else:
            self._sums = self._sums + values
        self._count += 1

    def state(self, accelerator: Accelerator) -> dict[str, Any]:
        """The sums so far, as JSON values: means over processes, which every process must ask for."""
        if self._sums is None:
            return {}
        sums = accelerator.reduce(self._sums.clone(), reduction="mean").tolist()
        return {"names": self._names, "sums": sums, "count": self._count}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Continue from what `state` returned."""
        if state:
            self._names, self._count = list(state["names"]), int(state["count"])
            self._sums = torch.tensor(state["sums"], device=device)

    def pop(self, accelerator: Accelerator) -> dict[str, float]:
        """Means over batches and processes by name (empty without batches), and start a new window.

        Every process must call it after the same number of batches.
        """
        if self._sums is None:
            return {}
        means = accelerator.reduce(self._sums / self._count, reduction="mean").tolist()
        self._sums, self._count = None, 0
        return dict(zip(self._names, means))
