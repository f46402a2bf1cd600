"""Bipartite matching of predicted and annotated moments."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from .configuration import DetectorConfig
from .numerics import full_precision
from .spans import center_width_to_start_end, generalized_temporal_iou

# Stands for a cost that is not a number, so that a diverged prediction is matched last instead of raising.
_WORST_COST = 1e6


class Matcher:
    """Optimal one-to-one matching of moment queries to annotated moments, for all decoder layers at once."""

    def __init__(self, config: DetectorConfig):
        self.config = config

    def costs(self, logits: torch.Tensor, pred_spans: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Cost of every pair: span L1, generalized IoU and foreground probability, weighted by the configuration.

        Args:
            logits: (layers, B, M, 2).
            pred_spans: (layers, B, M, 2) as (center, width).
            spans: (B, K, 2) as (center, width).

        Returns:
            (layers, B, M, K) costs.
        """
        span_cost = (pred_spans.unsqueeze(-2) - spans.unsqueeze(-3)).abs().sum(-1)
        giou = generalized_temporal_iou(center_width_to_start_end(pred_spans), center_width_to_start_end(spans))
        foreground = logits.softmax(-1)[..., :1]
        config = self.config
        return config.span_cost * span_cost - config.giou_cost * giou - config.class_cost * foreground

    @torch.no_grad()
    def __call__(
        self, logits: torch.Tensor, pred_spans: torch.Tensor, spans: torch.Tensor, span_mask: torch.Tensor
    ) -> torch.Tensor:
        """Match queries to moments; the host is asked once, whatever the number of layers and samples.

        Args:
            logits: (layers, B, M, 2).
            pred_spans: (layers, B, M, 2) as (center, width).
            spans: (B, K, 2) as (center, width).
            span_mask: (B, K) bool, False for padding.

        Returns:
            (layers, B, K) long: the query matched to each moment, -1 for padding and for moments beyond M.
        """
        costs = self.costs(full_precision(logits), full_precision(pred_spans), full_precision(spans))
        costs = torch.nan_to_num(costs, nan=_WORST_COST).masked_fill(~span_mask.unsqueeze(-2), torch.inf)
        host_costs = costs.cpu().numpy()
        matched = np.full((*host_costs.shape[:2], host_costs.shape[-1]), -1)
        for index in np.ndindex(*host_costs.shape[:2]):
            valid = np.flatnonzero(np.isfinite(host_costs[index][0]))
            queries, moments = linear_sum_assignment(host_costs[index][:, valid])
            matched[index][valid[moments]] = queries
        return torch.from_numpy(matched).to(costs.device)


__all__ = ["Matcher"]
