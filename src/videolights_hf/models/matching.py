"""Bipartite matching of predicted and annotated moments.

On the CPU scipy solves it. On a device, waiting for the costs would stall the step, and a compiled graph would break: there
a dynamic program over sets of moments does, which is as exact.
"""

import numpy as np
import torch
from torch import nn

from .configuration import DetectorConfig
from .numerics import full_precision, is_on_host
from .spans import center_width_to_start_end, generalized_temporal_iou

# Stands for a cost that is not a number, so that a diverged prediction is matched last instead of raising.
_WORST_COST = 1e6
# The program holds 2 ** K sets for each problem.
MAX_PROGRAM_MOMENTS = 10


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

    def __call__(
        self, logits: torch.Tensor, pred_spans: torch.Tensor, spans: torch.Tensor, span_mask: torch.Tensor
    ) -> torch.Tensor:
        """Match queries to moments.

        On a device the host is asked for nothing, or once for all layers and samples if there can be more than
        `MAX_PROGRAM_MOMENTS` moments.

        Args:
            logits: (layers, B, M, 2).
            pred_spans: (layers, B, M, 2) as (center, width).
            spans: (B, K, 2) as (center, width).
            span_mask: (B, K) bool, False for padding.

        Returns:
            (layers, B, K) long: the query matched to each moment, -1 for padding and for moments beyond M.
        """
        with torch.no_grad():
            costs = self.costs(full_precision(logits), full_precision(pred_spans), full_precision(spans))
            costs = torch.nan_to_num(costs, nan=_WORST_COST)
        # By where the costs are and how many moments there can be, never by values: those would have to be waited for.
        waits = not is_on_host(costs)
        if waits and spans.shape[1] <= MAX_PROGRAM_MOMENTS:
            return match_by_program(costs, span_mask)
        return match_on_host(costs, span_mask)


def match_on_host(costs: torch.Tensor, span_mask: torch.Tensor) -> torch.Tensor:
    """Match (layers, B, M, K) costs by scipy; the arguments and result are those of `match_by_program`."""
    # Training needs it, and inference should not wait for its import.
    from scipy.optimize import linear_sum_assignment

    host_costs = costs.masked_fill(~span_mask.unsqueeze(-2), torch.inf).cpu().numpy()
    matched = np.full((*host_costs.shape[:2], host_costs.shape[-1]), -1)
    for index in np.ndindex(*host_costs.shape[:2]):
        valid = np.flatnonzero(np.isfinite(host_costs[index][0]))
        queries, moments = linear_sum_assignment(host_costs[index][:, valid])
        matched[index][valid[moments]] = queries
    return torch.from_numpy(matched).to(costs.device)


def match_by_program(costs: torch.Tensor, span_mask: torch.Tensor) -> torch.Tensor:
    """Match by a dynamic program over sets of moments: exact, where the costs are, and without waiting for a device.

    `best[s]` is the lowest cost of giving the moments of set s to some of the queries so far. One more query takes one
    of the set's moments or none. All layers and samples advance together, 2 ** K sets each.

    Args:
        costs: (layers, B, M, K), finite.
        span_mask: (B, K) bool, False for padding.

    Returns:
        (layers, B, K) long: the query matched to each moment, -1 for padding and for moments beyond M.
    """
    num_layers, _, num_queries, num_moments = costs.shape
    if torch.compiler.is_compiling():
        # A plain number, also where shapes are symbols: the compiler cannot index by powers of those.
        num_moments = next(number for number in range(MAX_PROGRAM_MOMENTS + 1) if number == num_moments)
    rest = _sets_without(num_moments, costs.device)
    # The last column of costs is that of taking none.
    costs = nn.functional.pad(costs, (0, 1)).flatten(0, 1)
    best = costs.new_full((1, len(rest)), torch.inf)
    best[:, 0] = 0
    best = best.expand(costs.shape[0], -1)
    taken = []
    for query in range(num_queries):
        best, choice = (best[:, rest] + costs[:, query, None]).min(-1)
        taken.append(choice)
    state = _last_set(best, span_mask.repeat(num_layers, 1), num_queries)
    moments = []
    for choice in reversed(taken):
        moment = choice.gather(1, state)
        moments.append(moment)
        state = rest[state, moment]
    queries = torch.arange(num_queries - 1, -1, -1, device=costs.device).expand(costs.shape[0], -1)
    matched = torch.full_like(costs[:, 0], -1, dtype=torch.long).scatter(1, torch.cat(moments, dim=1), queries)
    return matched[:, :num_moments].unflatten(0, (num_layers, -1))


def _sets_without(num_moments: int, device: torch.device) -> torch.Tensor:
    """(2 ** K + 1, K + 1) indices: each set without each of its moments, and unchanged in the last column.

    A set is the sum of powers of two of its moments. The last row stands for sets that are not there: those from which a
    moment was to be taken that they do not hold.
    """
    sets = torch.arange(2**num_moments + 1, device=device).unsqueeze(1)
    moments = torch.arange(num_moments, device=device)
    bit = 2**moments
    rest = torch.where((sets & bit) > 0, sets - bit, 2**num_moments)
    return torch.cat((rest, sets), dim=1)


def _last_set(best: torch.Tensor, span_mask: torch.Tensor, num_queries: int) -> torch.Tensor:
    """(N, 1) the set that is matched in the end: all moments, or the cheapest set of as many as there are queries."""
    num_moments = span_mask.shape[1]
    moments = torch.arange(num_moments, device=best.device)
    every = (span_mask * 2**moments).sum(1, keepdim=True)
    if num_moments <= num_queries:
        return every
    sets = torch.arange(best.shape[1], device=best.device)
    size = (sets.unsqueeze(1) >> moments & 1).sum(1)
    is_candidate = ((sets & ~every) == 0) & (size == span_mask.sum(1, keepdim=True).clamp(max=num_queries))
    return best.masked_fill(~is_candidate, torch.inf).argmin(1, keepdim=True)


__all__ = ["MAX_PROGRAM_MOMENTS", "Matcher", "match_by_program", "match_on_host"]
