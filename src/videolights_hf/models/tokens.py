"""Clips and words on their way through a network."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from transformers import PreTrainedConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils.generic import is_flash_attention_requested


def repeat_to(rows: torch.Tensor, size: int) -> torch.Tensor:
    """(B, ...) as it is for B samples, or repeated as a whole until there are `size`, a multiple of B."""
    if rows.shape[0] == size:
        return rows
    return rows.repeat(size // rows.shape[0], *(1 for _ in rows.shape[1:]))


def add_position(states: torch.Tensor, position: torch.Tensor | None) -> torch.Tensor:
    """(B, S, D) with positions added: none, (B, S, D), or of fewer samples."""
    if position is None:
        return states
    return states + (position if position.shape[0] == 1 else repeat_to(position, states.shape[0]))


class Tokens(NamedTuple):
    """A sequence with its positions and its padding.

    Attributes:
        states: (B, S, D).
        position: (B, S, D), or of fewer samples, for which they repeat, or None for tokens without positions.
        valid: (B, S) bool, or None when nothing is padded.
    """

    states: torch.Tensor
    position: torch.Tensor | None = None
    valid: torch.Tensor | None = None

    @property
    def placed(self) -> torch.Tensor:
        """(B, S, D) states with their positions added."""
        return add_position(self.states, self.position)

    def with_states(self, states: torch.Tensor) -> Tokens:
        """The same positions and padding, with other states (P, S, D); padding repeats where they are of more samples."""
        valid = None if self.valid is None else repeat_to(self.valid, states.shape[0])
        return Tokens(states, self.position, valid)

    def is_valid(self) -> torch.Tensor:
        """(B, S) bool, also when nothing is padded."""
        if self.valid is None:
            return torch.ones(self.states.shape[:2], dtype=torch.bool, device=self.states.device)
        return self.valid

    def for_batch(self, size: int) -> Tokens:
        """The same tokens for a batch of this size, if they are of one sample."""
        valid = None if self.valid is None else self.valid.expand(size, -1)
        return Tokens(self.states.expand(size, -1, -1), self.position, valid)

    def then(self, other: Tokens) -> Tokens:
        """These tokens followed by others of the same batch."""
        states = torch.cat((self.states, other.states), dim=1)
        positions = [torch.zeros_like(x.states[:1]) if x.position is None else x.position for x in (self, other)]
        if any(position.shape[0] > 1 for position in positions):
            positions = [repeat_to(position, self.states.shape[0]) for position in positions]
        position = torch.cat(positions, dim=1)
        if self.valid is None and other.valid is None:
            return Tokens(states, position)
        return Tokens(states, position, torch.cat((self.is_valid(), other.is_valid()), dim=1))

    def with_next(self) -> Tokens:
        """The batch and then the batch shifted: there states and padding are those of the next sample.

        Positions stay with their place in the batch, as in the releases.
        """

        def then_next(rows: torch.Tensor) -> torch.Tensor:
            return torch.cat((rows, rows.roll(-1, dims=0)))

        return Tokens(then_next(self.states), self.position, None if self.valid is None else then_next(self.valid))

    def repeated(self, size: int) -> Tokens:
        """The batch as it is, or repeated as a whole until there are `size` samples."""
        return self.with_states(repeat_to(self.states, size))

    def attention_mask(self, config: PreTrainedConfig, query: torch.Tensor) -> torch.Tensor | None:
        """Mask over padded tokens as keys, in the form that the attention implementation of `config` takes.

        Args:
            config: The model's configuration.
            query: (B, Q, D) sequence that attends; the same object as `states` for self-attention.
        """
        if self.valid is None:
            return None
        crosses = query is not self.states
        if config._attn_implementation == "sdpa" or (is_flash_attention_requested(config) and crosses):
            return self.valid[:, None, None, :]
        mask = create_bidirectional_mask(
            config=config,
            inputs_embeds=query,
            attention_mask=self.valid,
            encoder_hidden_states=self.states,
            # Looking into the mask for a way to skip it would wait for the device.
            allow_is_bidirectional_skip=False,
        )
        # Flex attention's is a BlockMask, which only that implementation looks into.
        return cast("torch.Tensor | None", mask)


__all__ = ["Tokens", "add_position", "repeat_to"]
