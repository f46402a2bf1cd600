"""Where the paper says one thing and the released code does another: one switch, and a member for each difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from transformers.utils import logging

logger = logging.get_logger(__name__)


class Member(NamedTuple):
    """A field that `formulation` sets.

    Attributes:
        released: Its value in the released code, which made the published numbers.
        paper: Its value as printed.
        change: What another value does to trained weights: `"none"` (a loss), `"retrain"` (they load, but were trained
            for the other form), `"refuse"` (names or shapes change).
        part: The field that switches on the part it belongs to, if it is not always there, and the value that does.
    """

    released: Any
    paper: Any
    change: str
    part: tuple[str, Any] | None = None


_REFINEMENT = ("use_feature_refinement", True)
_BI_CMF = ("cross_modal_fusion", "bi")
MEMBERS = {
    "projection_relu": Member("inner", "all", "retrain"),
    "convolution_kernel_size": Member(1, 3, "refuse"),
    "word_correlation": Member("constant", "map", "refuse", _REFINEMENT),
    "sentence_similarity": Member("cosine", "dot", "retrain", _REFINEMENT),
    "refinement_relu": Member(True, False, "retrain", _REFINEMENT),
    "fusion_form": Member("released", "paper", "retrain", _BI_CMF),
    "fusion_positions": Member("queries_keys", "all", "retrain", _BI_CMF),
    "video_positions": Member("sine", "learned", "refuse"),
    "use_text_positions": Member(False, True, "refuse"),
    "loss_padding": Member("counted", "masked", "none"),
    "saliency_scaling": Member("batch", "none", "none"),
    "loss_reduction": Member("released", "paper", "none"),
    "hard_negative_loss": Member("squared", "absolute", "none"),
}


def fill_members(config: Any) -> None:
    """Set the members that are None by the configuration's `formulation`; those of parts that are off as released."""
    for name, member in MEMBERS.items():
        if getattr(config, name) is None:
            is_on = member.part is None or getattr(config, member.part[0]) == member.part[1]
            as_printed = config.formulation == "paper" and is_on
            setattr(config, name, member.paper if as_printed else member.released)


def check_changes(saved: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Check what is changed of a saved model's configuration when it is loaded.

    Args:
        saved: The saved fields; members that are not there are as released.
        changes: Fields that are given on loading.

    Raises:
        ValueError: The formulation is changed while a saved member stands against it, or a member is changed by which
            the weights have other names or shapes.
    """
    for name, member in MEMBERS.items():
        before = saved.get(name, member.released)
        if name not in changes and "formulation" in changes:
            wanted = member.paper if changes["formulation"] == "paper" else member.released
            if before != wanted:
                raise ValueError(
                    f"formulation={changes['formulation']!r} disagrees with the saved {name}={before!r}: pass the "
                    "members to change one by one, or make a new model."
                )
        after = changes.get(name, before)
        if after == before:
            continue
        # The released weights load into the other word branch as far as shapes allow.
        if member.change == "refuse" and {before, after} != {"constant", "attended"}:
            raise ValueError(
                f"{name} cannot change from {before!r} to {after!r} on loading, as weights differ: make a new model."
            )
        if member.change == "retrain":
            logger.warning(f"The weights were trained with {name}={before!r}, not {after!r}: train them again.")


__all__ = ["MEMBERS", "check_changes", "fill_members"]
