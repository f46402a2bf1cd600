"""The composite loss of VideoLights (paper, section III-D to III-F), one function a term."""

import torch
from torch import nn

from ..matching import VideoLightsMatcher
from ..spans import center_width_to_start_end, generalized_temporal_iou
from .configuration import VideoLightsConfig

FOREGROUND, BACKGROUND = 0, 1
# Saliency labels are sums of three annotators' scores from 0 to 4: the rank contrastive term asks for each rank
# below the highest, and the release divides their sum by the highest.
MAX_SALIENCY = 12
RANK_TEMPERATURE = 0.5
MASKED_SCORE = -1000.0


def matched_mean(values: torch.Tensor, is_matched: torch.Tensor) -> torch.Tensor:
    """Mean over matched moments of (B, K) values; 0 when there are none."""
    return (values * is_matched).sum() / is_matched.sum().clamp(min=1)


def gather_queries(values: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Pick each moment's query: values (B, M, C) and indices (B, K), -1 for none, to (B, K, C)."""
    index = matched_query.clamp(min=0).unsqueeze(-1).expand(-1, -1, values.shape[-1])
    return values.gather(1, index)


def matched_query_mask(matched_query: torch.Tensor, num_queries: int) -> torch.Tensor:
    """(B, K) indices, -1 for none, to a (B, M) bool mask of the queries that are matched."""
    # Unmatched moments point at a column of their own, cut off again.
    index = torch.where(matched_query < 0, num_queries, matched_query)
    mask = torch.zeros(len(index), num_queries + 1, dtype=torch.bool, device=index.device)
    return mask.scatter(1, index, True)[:, :num_queries]


def span_loss(pred_spans: torch.Tensor, spans: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Mean L1 distance of matched (centre, width) pairs, over both coordinates."""
    distance = (gather_queries(pred_spans, matched_query) - spans).abs().mean(-1)
    return matched_mean(distance, matched_query >= 0)


def giou_loss(pred_spans: torch.Tensor, spans: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - generalised IoU over matched pairs."""
    predicted = center_width_to_start_end(gather_queries(pred_spans, matched_query))
    target = center_width_to_start_end(spans)
    giou = generalized_temporal_iou(predicted.unsqueeze(-2), target.unsqueeze(-2))[..., 0, 0]
    return matched_mean(1 - giou, matched_query >= 0)


def label_loss(logits: torch.Tensor, matched_query: torch.Tensor, background_coef: float) -> torch.Tensor:
    """Cross-entropy over all queries; unmatched ones are background and weigh `background_coef`."""
    is_foreground = matched_query_mask(matched_query, logits.shape[1])
    log_probability = logits.log_softmax(-1)
    loss = torch.where(
        is_foreground, -log_probability[..., FOREGROUND], -background_coef * log_probability[..., BACKGROUND]
    )
    return loss.mean()


def class_error(logits: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Percentage of matched queries classified as background; for the log only."""
    predicted = gather_queries(logits, matched_query).argmax(-1)
    return 100 * matched_mean((predicted != FOREGROUND).to(logits.dtype), matched_query >= 0)


def query_text_alignment_loss(
    queries: torch.Tensor, text: torch.Tensor, matched_query: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Matched queries lie nearer to the words than the other queries do (paper, eq. 4).

    `queries` (B, M, P) and `text` (B, N, P) are unit vectors. As in the release, every text slot counts, padding
    included. Samples without a matched moment add nothing.
    """
    logits = (queries * text.sum(1, keepdim=True)).sum(-1) / temperature
    is_matched = matched_query_mask(matched_query, logits.shape[1])
    count = is_matched.sum(-1)
    loss = logits.logsumexp(-1) - (logits * is_matched).sum(-1) / count.clamp(min=1)
    return (loss * (count > 0)).mean()


def rescale_saliency(scores: torch.Tensor, saliency: torch.Tensor) -> torch.Tensor:
    """Shift scores (B, L) to start at 0 in the batch and divide by the batch's range of annotated saliency."""
    saliency_range = (saliency.max() - saliency.min()).clamp(min=1e-6)
    return (scores - scores.min()) / saliency_range


def saliency_cosine_loss(scores: torch.Tensor, saliency: torch.Tensor) -> torch.Tensor:
    """1 - cosine of predicted and annotated saliency, summed over the batch (paper, eq. 6, 11 and 12).

    Both are (B, L); the paper's mean over the batch is a sum in the release.
    """
    scores = nn.functional.normalize(rescale_saliency(scores, saliency), dim=-1)
    saliency = nn.functional.normalize(saliency, dim=-1)
    return (1 - nn.functional.cosine_similarity(saliency, scores, dim=-1)).sum()


def video_text_alignment_loss(text: torch.Tensor, video: torch.Tensor, saliency: torch.Tensor) -> torch.Tensor:
    """Cosine of mean word (B, N, D) and refined clip (B, L, D) follows the annotated saliency (paper, eq. 5 and 6)."""
    similarity = nn.functional.cosine_similarity(text.mean(1, keepdim=True), video, dim=-1)
    return saliency_cosine_loss(similarity, saliency)


def negative_pair_loss(negative_scores: torch.Tensor, video_mask: torch.Tensor) -> torch.Tensor:
    """Clips score low against another video's sentence: -log(1 - sigmoid), summed over clips, mean over the batch."""
    return (nn.functional.softplus(negative_scores) * video_mask).sum(-1).mean()


def rank_contrastive_loss(
    scores: torch.Tensor, negative_scores: torch.Tensor, saliency: torch.Tensor, video_mask: torch.Tensor
) -> torch.Tensor:
    """Clips of at least rank r stand out from all others and from the negative pair's, for every rank r.

    All arguments are (B, L). A sample without clips of a rank adds nothing to that rank.
    """
    mask = torch.cat((video_mask, video_mask), dim=1)
    scores = torch.cat((scores, negative_scores), dim=1).masked_fill(~mask, MASKED_SCORE) / RANK_TEMPERATURE
    labels = torch.cat((saliency, torch.zeros_like(saliency)), dim=1)
    scores = scores - scores.max(1, keepdim=True).values
    log_probability = (scores - (scores.exp().sum(1, keepdim=True) + 1e-6).log()) * mask
    ranks = torch.arange(1, MAX_SALIENCY, device=labels.device).view(-1, 1, 1)
    is_positive = labels >= ranks
    per_rank = -(is_positive * log_probability).sum(-1) / (is_positive.sum(-1) + 1e-6)
    return per_rank.mean(-1).sum() / MAX_SALIENCY


def margin_ranking_loss(
    scores: torch.Tensor, positive_clips: torch.Tensor, negative_clips: torch.Tensor, margin: float
) -> torch.Tensor:
    """Hinge between the scores (B, L) of sampled positive and negative clips, both (B, P) indices."""
    hinge = (margin + scores.gather(1, negative_clips) - scores.gather(1, positive_clips)).clamp(min=0)
    return 2 * hinge.mean()


def hard_positive_negative_loss(scores: torch.Tensor, saliency: torch.Tensor, absolute: bool) -> torch.Tensor:
    """Errors of clips outside the moments and inside them (paper, eq. 9 and 10), before the adaptive weight.

    Args:
        scores: (B, L) predicted saliency.
        saliency: (B, L) annotated saliency.
        absolute: penalise a clip outside by the size of its score, as eq. 9 has it, instead of its square.
    """
    scores = nn.functional.normalize(rescale_saliency(scores, saliency), dim=-1)
    target = nn.functional.normalize(saliency, dim=-1)
    is_positive = saliency > 0
    # The target is zero outside the moments, so the error there is the score itself.
    outside = scores.abs() if absolute else scores.square()
    return ((scores - target).square() * is_positive).mean() + (outside * ~is_positive).mean()


class VideoLightsLoss:
    """Weighted sum of all terms.

    Labels are padded tensors (K moments and P clip pairs at most):

    - `spans` (B, K, 2): (centre, width) as fractions of the video; `span_mask` (B, K): 1 for moments, 0 for padding.
      Not read for a highlight-only model.
    - `saliency` (B, L): annotated saliency in [0, 12], 0 on padding.
    - `positive_clips`, `negative_clips` (B, P), optional: clip indices of the margin term.
    """

    def __init__(self, config: VideoLightsConfig):
        self.config = config
        self.matcher = VideoLightsMatcher(config)

    def __call__(
        self,
        output: dict[str, torch.Tensor],
        features: dict[str, torch.Tensor],
        labels: dict[str, torch.Tensor],
        video_mask: torch.Tensor,
        epoch: int = 0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Compute the loss.

        Args:
            output: the heads' outputs, as [`VideoLightsForMomentRetrieval`] names them.
            features: the network's outputs, as [`VideoLightsModel`] names them.
            labels: targets, see above.
            video_mask: (B, L) bool.
            epoch: epoch in training, from 0.

        Returns:
            The loss, and the detached, unweighted terms by name. `saliency_*` are the parts of `loss_saliency`, with
            their own coefficients applied; `class_error` is a percentage.

        Raises:
            ValueError: if a label is missing or of a shape that does not fit.
        """
        self._check_labels(labels, output["saliency_scores"])
        saliency = labels["saliency"].float()
        saliency_parts = self.saliency_terms(output, labels, saliency, video_mask, epoch)
        terms = {"loss_saliency": sum(saliency_parts.values())}
        weights = {"loss_saliency": self.config.saliency_loss_coef}
        logged = dict(saliency_parts)
        if not self.config.highlight_only:
            moment_terms, logged_errors = self.moment_terms(output, labels)
            if self.config.use_contrastive_alignment:
                moment_terms["loss_contrastive_align"] = moment_terms[
                    "loss_contrastive_align"
                ] + video_text_alignment_loss(
                    features["projected_text"].float(), features["refined_video"].float(), saliency
                )
            terms.update(moment_terms)
            weights.update({name: self._moment_weight(name) for name in moment_terms})
            logged.update(logged_errors)
        loss = sum(weights[name] * term for name, term in terms.items())
        return loss, {name: term.detach() for name, term in {**terms, **logged}.items()}

    def saliency_terms(
        self,
        output: dict[str, torch.Tensor],
        labels: dict[str, torch.Tensor],
        saliency: torch.Tensor,
        video_mask: torch.Tensor,
        epoch: int,
    ) -> dict[str, torch.Tensor]:
        """The parts of `loss_saliency`, coefficients applied."""
        config = self.config
        scores = output["saliency_scores"].float()
        negative_scores = output["negative_saliency_scores"].float()
        parts = {
            "saliency_negative_pair": negative_pair_loss(negative_scores, video_mask),
            "saliency_rank_contrastive": rank_contrastive_loss(scores, negative_scores, saliency, video_mask),
        }
        if labels.get("positive_clips") is not None:
            parts["saliency_margin"] = margin_ranking_loss(
                scores, labels["positive_clips"], labels["negative_clips"], config.saliency_margin
            )
        if config.cosine_similarity_loss_coef:
            cosine = saliency_cosine_loss(scores, saliency)
            parts["saliency_cosine"] = config.cosine_similarity_loss_coef * cosine
        if output.get("moment_saliency_scores") is not None and config.moment_to_highlight_loss_coef:
            coupled = saliency_cosine_loss(output["moment_saliency_scores"].float(), saliency)
            parts["saliency_task_coupled"] = config.moment_to_highlight_loss_coef * coupled
        if config.hard_pos_neg_loss_coef:
            hard = hard_positive_negative_loss(scores, saliency, absolute=config.hard_negative_loss == "absolute")
            parts["saliency_hard"] = (epoch + 1) * config.hard_pos_neg_loss_coef * hard
        return parts

    def moment_terms(
        self, output: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Terms of every decoder layer, the earlier ones numbered, and the class errors for the log."""
        layers = [*(output.get("auxiliary_outputs") or []), output]
        logits = torch.stack([layer["logits"] for layer in layers]).float()
        pred_spans = torch.stack([layer["pred_spans"] for layer in layers]).float()
        spans, span_mask = labels["spans"].float(), labels["span_mask"].bool()
        matched = self.matcher(logits, pred_spans, spans, span_mask)
        terms, errors = {}, {}
        for index, layer in enumerate(layers):
            suffix = "" if index == len(layers) - 1 else f"_{index}"
            terms[f"loss_span{suffix}"] = span_loss(pred_spans[index], spans, matched[index])
            terms[f"loss_giou{suffix}"] = giou_loss(pred_spans[index], spans, matched[index])
            terms[f"loss_label{suffix}"] = label_loss(logits[index], matched[index], self.config.background_coef)
            errors[f"class_error{suffix}"] = class_error(logits[index], matched[index])
            if self.config.use_contrastive_alignment:
                terms[f"loss_contrastive_align{suffix}"] = query_text_alignment_loss(
                    layer["contrastive_queries"].float(),
                    output["contrastive_text"].float(),
                    matched[index],
                    self.config.contrastive_temperature,
                )
        return terms, errors

    def _moment_weight(self, name: str) -> float:
        for term, weight in (
            ("loss_span", self.config.span_loss_coef),
            ("loss_giou", self.config.giou_loss_coef),
            ("loss_label", self.config.label_loss_coef),
            ("loss_contrastive_align", self.config.contrastive_align_loss_coef),
        ):
            if name.startswith(term):
                return weight
        raise KeyError(name)

    def _check_labels(self, labels: dict[str, torch.Tensor], scores: torch.Tensor) -> None:
        wanted = ["saliency"] if self.config.highlight_only else ["saliency", "spans", "span_mask"]
        missing = [name for name in wanted if labels.get(name) is None]
        if missing:
            raise ValueError(f"`labels` lacks {', '.join(missing)}; it has {', '.join(labels) or 'nothing'}.")
        if labels["saliency"].shape != scores.shape:
            raise ValueError(
                f"`labels['saliency']` must have shape {tuple(scores.shape)} like the clips, "
                f"got {tuple(labels['saliency'].shape)}."
            )
        if (labels.get("positive_clips") is None) != (labels.get("negative_clips") is None):
            raise ValueError("`labels` needs both `positive_clips` and `negative_clips`, or neither.")
        if not self.config.highlight_only and labels["spans"].shape != (*labels["span_mask"].shape, 2):
            raise ValueError(
                f"`labels['spans']` must have shape {(*labels['span_mask'].shape, 2)} to fit `span_mask`, "
                f"got {tuple(labels['spans'].shape)}."
            )
