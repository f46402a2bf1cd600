"""Loss terms, one function each, and the sum that every detector makes of its own."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import nn

from .configuration import DetectorConfig
from .matching import Matcher
from .numerics import full_precision
from .spans import center_width_to_start_end, generalized_temporal_iou

FOREGROUND, BACKGROUND = 0, 1
# Saliency labels are sums of three annotators' scores from 0 to 4: the rank contrastive term asks for each rank
# below the highest, and the release divides their sum by the highest.
MAX_SALIENCY = 12
RANK_TEMPERATURE = 0.5
MASKED_SCORE = -1000.0


class SaliencyForm(NamedTuple):
    """How eq. 4 to 6 and 8 to 12 of the paper are computed; the defaults are the released code's way.

    Attributes:
        padding: Whether padded clips and words count or are masked out.
        scaling: Scores shifted and scaled by their batch, and normalized for each sample, or raw scores.
        reduction: Sums over the batch in eq. 6, 11 and 12 and means over clips in eq. 8 to 10, or as printed.
    """

    padding: Literal["counted", "masked"] = "counted"
    scaling: Literal["batch", "none"] = "batch"
    reduction: Literal["released", "paper"] = "released"

    def mask(self, valid: torch.Tensor) -> torch.Tensor | None:
        """What counts of (B, S) tokens; None for all."""
        return valid if self.padding == "masked" else None


RELEASED_FORM = SaliencyForm()


def matched_mean(values: torch.Tensor, is_matched: torch.Tensor) -> torch.Tensor:
    """Mean over matched moments of (..., B, K) values; 0 when there are none."""
    return (values * is_matched).sum((-2, -1)) / is_matched.sum((-2, -1)).clamp(min=1)


def gather_queries(values: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Pick each moment's query: values (..., B, M, C) and indices (..., B, K), -1 for none, to (..., B, K, C)."""
    index = matched_query.clamp(min=0).unsqueeze(-1)
    return values.gather(-2, index.expand(*index.shape[:-1], values.shape[-1]))


def matched_query_mask(matched_query: torch.Tensor, num_queries: int) -> torch.Tensor:
    """(..., B, K) indices, -1 for none, to a (..., B, M) bool mask of the queries that are matched."""
    # Unmatched moments point at a column of their own, cut off again.
    index = torch.where(matched_query < 0, num_queries, matched_query)
    mask = torch.zeros(*index.shape[:-1], num_queries + 1, dtype=torch.bool, device=index.device)
    return mask.scatter(-1, index, True)[..., :num_queries]


# The terms of moments take all decoder layers at once: with a layer dimension in front of the batch's, each is one value
# per layer.


def span_loss(pred_spans: torch.Tensor, spans: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Mean L1 distance of matched (center, width) pairs, over both coordinates."""
    distance = (gather_queries(pred_spans, matched_query) - spans).abs().mean(-1)
    return matched_mean(distance, matched_query >= 0)


def giou_loss(pred_spans: torch.Tensor, spans: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - generalized IoU over matched pairs."""
    predicted = center_width_to_start_end(gather_queries(pred_spans, matched_query))
    target = center_width_to_start_end(spans)
    giou = generalized_temporal_iou(predicted.unsqueeze(-2), target.unsqueeze(-2))[..., 0, 0]
    return matched_mean(1 - giou, matched_query >= 0)


def label_loss(logits: torch.Tensor, matched_query: torch.Tensor, background_coef: float) -> torch.Tensor:
    """Cross-entropy over all queries; unmatched ones are background and weigh `background_coef`."""
    is_foreground = matched_query_mask(matched_query, logits.shape[-2])
    log_probability = logits.log_softmax(-1)
    loss = torch.where(
        is_foreground, -log_probability[..., FOREGROUND], -background_coef * log_probability[..., BACKGROUND]
    )
    return loss.mean((-2, -1))


def class_error(logits: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Percentage of matched queries classified as background; for the log only."""
    predicted = gather_queries(logits, matched_query).argmax(-1)
    return 100 * matched_mean((predicted != FOREGROUND).to(logits.dtype), matched_query >= 0)


def query_text_alignment_loss(
    queries: torch.Tensor,
    text: torch.Tensor,
    matched_query: torch.Tensor,
    temperature: float,
    counted_words: torch.Tensor | None = None,
) -> torch.Tensor:
    """Matched queries lie nearer to the words than the other queries do (paper, eq. 4).

    `queries` (..., B, M, P) and `text` (B, N, P) are unit vectors. By default every text slot counts, padding included, as
    in the release; otherwise `counted_words` (B, N) do. Samples without a matched moment add nothing.
    """
    if counted_words is not None:
        text = text * counted_words.unsqueeze(-1)
    logits = (queries * text.sum(1, keepdim=True)).sum(-1) / temperature
    is_matched = matched_query_mask(matched_query, logits.shape[-1])
    count = is_matched.sum(-1)
    loss = logits.logsumexp(-1) - (logits * is_matched).sum(-1) / count.clamp(min=1)
    return (loss * (count > 0)).mean(-1)


def rescale_saliency(
    scores: torch.Tensor,
    saliency: torch.Tensor,
    counted: torch.Tensor | None = None,
    form: SaliencyForm = RELEASED_FORM,
) -> torch.Tensor:
    """Scores (B, L) on the scale of the losses, zero where a clip does not count.

    As released: shifted to start at 0 in the batch, and divided by the batch's range of annotated saliency.
    """
    if form.scaling == "batch":
        lowest = (scores if counted is None else scores.masked_fill(~counted, torch.inf)).min()
        scores = (scores - lowest) / (saliency.max() - saliency.min()).clamp(min=1e-6)
    return scores if counted is None else scores.masked_fill(~counted, 0)


def saliency_cosine_loss(
    scores: torch.Tensor,
    saliency: torch.Tensor,
    counted: torch.Tensor | None = None,
    form: SaliencyForm = RELEASED_FORM,
) -> torch.Tensor:
    """1 - cosine of predicted and annotated saliency (paper, eq. 6, 11 and 12), summed over the batch as released.

    Args:
        scores: (B, L) predicted saliency.
        saliency: (B, L) annotated saliency.
        counted: (B, L) bool, the clips that count; by default all.
        form: Scaling and reduction.
    """
    scores = nn.functional.normalize(rescale_saliency(scores, saliency, counted, form), dim=-1)
    distance = 1 - (scores * nn.functional.normalize(saliency, dim=-1)).sum(-1)
    return distance.mean() if form.reduction == "paper" else distance.sum()


def video_text_alignment_loss(
    text: torch.Tensor,
    video: torch.Tensor,
    saliency: torch.Tensor,
    counted: tuple[torch.Tensor, torch.Tensor] | None = None,
    form: SaliencyForm = RELEASED_FORM,
) -> torch.Tensor:
    """Cosine of mean word (B, N, D) and refined clip (B, L, D) follows the annotated saliency (paper, eq. 5 and 6).

    `counted` are the words (B, N) and the clips (B, L) that count; by default all.
    """
    if counted is None:
        sentence, clips = text.mean(1, keepdim=True), None
    else:
        words, clips = counted[0].to(text.dtype).unsqueeze(-1), counted[1]
        sentence = (text * words).sum(1, keepdim=True) / words.sum(1, keepdim=True).clamp(min=1)
    similarity = nn.functional.cosine_similarity(sentence, video, dim=-1)
    return saliency_cosine_loss(similarity, saliency, clips, form)


def negative_pair_loss(negative_scores: torch.Tensor, video_mask: torch.Tensor) -> torch.Tensor:
    """Clips score low against another video's sentence: -log(1 - sigmoid), summed over clips, mean over the batch."""
    return (nn.functional.softplus(negative_scores) * video_mask).sum(-1).mean()


def rank_contrastive_loss(
    scores: torch.Tensor, negative_scores: torch.Tensor | None, saliency: torch.Tensor, video_mask: torch.Tensor
) -> torch.Tensor:
    """Clips of at least rank r stand out from all others, and from the negative pair's if given, for every rank r.

    All arguments are (B, L). A sample without clips of a rank adds nothing to that rank.
    """
    if negative_scores is not None:
        scores = torch.cat((scores, negative_scores), dim=1)
        saliency = torch.cat((saliency, torch.zeros_like(saliency)), dim=1)
        video_mask = torch.cat((video_mask, video_mask), dim=1)
    scores = scores.masked_fill(~video_mask, MASKED_SCORE) / RANK_TEMPERATURE
    scores = scores - scores.max(1, keepdim=True).values
    log_probability = (scores - (scores.exp().sum(1, keepdim=True) + 1e-6).log()) * video_mask
    ranks = torch.arange(1, MAX_SALIENCY, device=saliency.device).view(-1, 1, 1)
    is_positive = saliency >= ranks
    per_rank = -(is_positive * log_probability).sum(-1) / (is_positive.sum(-1) + 1e-6)
    return per_rank.mean(-1).sum() / MAX_SALIENCY


def margin_ranking_loss(
    scores: torch.Tensor, positive_clips: torch.Tensor, negative_clips: torch.Tensor, margin: float
) -> torch.Tensor:
    """Hinge between the scores (B, L) of sampled positive and negative clips, both (B, P) indices."""
    hinge = (margin + scores.gather(1, negative_clips) - scores.gather(1, positive_clips)).clamp(min=0)
    return 2 * hinge.mean()


def hard_positive_negative_loss(
    scores: torch.Tensor,
    saliency: torch.Tensor,
    outside: Literal["squared", "absolute"] = "squared",
    counted: torch.Tensor | None = None,
    form: SaliencyForm = RELEASED_FORM,
) -> torch.Tensor:
    """Errors of clips outside the moments and inside them (paper, eq. 8 to 10), before the adaptive weight.

    Args:
        scores: (B, L) predicted saliency.
        saliency: (B, L) annotated saliency.
        outside: Penalty on a clip outside: the square of its score, as released, or its size, as in eq. 9.
        counted: (B, L) bool, the clips that count; by default all.
        form: Scaling and reduction.
    """
    scores, target = rescale_saliency(scores, saliency, counted, form), saliency
    if form.scaling == "batch":
        scores, target = (nn.functional.normalize(values, dim=-1) for values in (scores, target))
    # The target is zero outside the moments, so the error there is the score itself.
    penalty = scores.abs() if outside == "absolute" else scores.square()
    errors = torch.where(saliency > 0, (scores - target).square(), penalty)
    total = errors.numel() if counted is None else counted.sum()
    if counted is not None:
        errors = errors * counted
    return errors.sum() / (errors.shape[0] if form.reduction == "paper" else total)


class DetectorLoss:
    """Weighted sum of a detector's terms; each detector adds its own saliency terms.

    Labels are padded tensors (K moments and P clip pairs at most):

    - `spans` (B, K, 2): (center, width) as fractions of the video; `span_mask` (B, K): 1 for moments, 0 for padding.
      Not read for a highlight-only model.
    - `saliency` (B, L): annotated saliency in [0, 12], 0 on padding.
    - `positive_clips`, `negative_clips` (B, P), optional: clip indices of the margin term.
    """

    # The field of the configuration that weighs each term.
    coefficients = {
        "loss_span": "span_loss_coef",
        "loss_giou": "giou_loss_coef",
        "loss_label": "label_loss_coef",
        "loss_contrastive_align": "contrastive_align_loss_coef",
        "loss_saliency": "saliency_loss_coef",
    }

    # Whether the saliency loss has its contrastive terms beside the margin.
    sets_clips_apart = True
    # VideoLights alone offers another.
    form = RELEASED_FORM

    def __init__(self, config: DetectorConfig):
        self.config = config
        self.matcher = Matcher(config)

    def __call__(
        self,
        output: Mapping,
        features: Mapping,
        labels: Mapping[str, torch.Tensor],
        video_mask: torch.Tensor,
        epoch: int | torch.Tensor = 0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Compute the loss.

        Args:
            output: The heads' outputs, as [`MomentRetrievalOutput`] names them.
            features: The network's outputs, as [`DetectorModelOutput`] names them.
            labels: Targets, see above.
            video_mask: (B, L) bool.
            epoch: Epoch in training, from 0.

        Returns:
            The loss, and the detached, unweighted terms by name: those of earlier decoder layers are numbered,
            `saliency_*` are the parts of `loss_saliency` with their own coefficients applied, and `class_error` is a
            percentage.

        Raises:
            ValueError: A label is missing or its shape does not fit.
        """
        self.check_labels(labels, output["saliency_scores"])
        parts = self.saliency_terms(output, labels, video_mask, epoch)
        terms = {"loss_saliency": sum(parts.values(), video_mask.new_zeros((), dtype=torch.float32))}
        terms |= self.sample_terms(features, labels, video_mask)
        loss, logged = self._weigh(terms), {**terms, **parts}
        if not self.config.highlight_only:
            by_layer, error = self._moment_terms(output, features, labels, video_mask)
            loss = loss + self._weigh({name: values.sum() for name, values in by_layer.items()})
            logged |= _name_layers({**by_layer, "class_error": error})
        return loss, {name: term.detach() for name, term in logged.items()}

    def saliency_terms(
        self, output: Mapping, labels: Mapping[str, torch.Tensor], video_mask: torch.Tensor, epoch: int | torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The parts of `loss_saliency`, coefficients applied."""
        parts = self.contrastive_terms(output, labels, video_mask) if self.sets_clips_apart else {}
        if labels.get("positive_clips") is not None:
            scores = full_precision(output["saliency_scores"])
            positive, negative = labels["positive_clips"], labels["negative_clips"]
            parts["saliency_margin"] = margin_ranking_loss(scores, positive, negative, self.config.saliency_margin)
        return parts

    def sample_terms(
        self, features: Mapping, labels: Mapping[str, torch.Tensor], video_mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Terms beside the saliency that no decoder layer enters; none unless a detector has its own."""
        return {}

    def contrastive_terms(
        self, output: Mapping, labels: Mapping[str, torch.Tensor], video_mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Saliency terms that set clips apart from all others, also those of negative pairs where there are any."""
        scores, saliency = full_precision(output["saliency_scores"]), full_precision(labels["saliency"])
        if (negative_scores := output.get("negative_saliency_scores")) is None:
            return {"saliency_rank_contrastive": rank_contrastive_loss(scores, None, saliency, video_mask)}
        negative_scores = full_precision(negative_scores)
        return {
            "saliency_negative_pair": negative_pair_loss(negative_scores, video_mask),
            "saliency_rank_contrastive": rank_contrastive_loss(scores, negative_scores, saliency, video_mask),
        }

    @property
    def aligns_video(self) -> bool:
        """Whether the alignment loss has its video-text term (paper, eq. 5 and 6)."""
        return True

    def video_to_align(self, features: Mapping) -> torch.Tensor:
        """Clips (B, L, D) of the video-text term."""
        return features["refined_video"]

    def label_term(self, logits: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
        """Foreground against background, (layers, B, M, 2) logits and (layers, B, K) matches, one value per layer."""
        return label_loss(logits, matched_query, self.config.background_coef)

    def _moment_terms(
        self, output: Mapping, features: Mapping, labels: Mapping[str, torch.Tensor], video_mask: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Each term's values (layers,), earlier decoder layers first, and the class errors (layers,)."""
        layers = [*(output.get("auxiliary_outputs") or []), output]
        logits = full_precision(torch.stack([layer["logits"] for layer in layers]))
        pred_spans = full_precision(torch.stack([layer["pred_spans"] for layer in layers]))
        spans = full_precision(labels["spans"])
        matched = self.matcher(logits, pred_spans, spans, labels["span_mask"].bool())
        terms = {
            "loss_span": span_loss(pred_spans, spans, matched),
            "loss_giou": giou_loss(pred_spans, spans, matched),
            "loss_label": self.label_term(logits, matched),
        }
        if self.config.has_alignment_heads:
            queries = full_precision(torch.stack([layer["contrastive_queries"] for layer in layers]))
            terms["loss_contrastive_align"] = self._alignment_term(
                queries, matched, full_precision(output["contrastive_text"]), features, labels, video_mask
            )
        return terms, class_error(logits, matched)

    def _alignment_term(
        self,
        queries: torch.Tensor,
        matched: torch.Tensor,
        text: torch.Tensor,
        features: Mapping,
        labels: Mapping[str, torch.Tensor],
        video_mask: torch.Tensor,
    ) -> torch.Tensor:
        counted_words = features["text_mask"] if self.form.padding == "masked" else None
        term = query_text_alignment_loss(queries, text, matched, self.config.contrastive_temperature, counted_words)
        if not self.aligns_video:
            return term
        video = full_precision(self.video_to_align(features))
        words = full_precision(features["projected_text"])
        counted = None if counted_words is None else (counted_words, video_mask)
        of_video = video_text_alignment_loss(words, video, full_precision(labels["saliency"]), counted, self.form)
        # It belongs to the last layer.
        return torch.cat((term[:-1], term[-1:] + of_video))

    def _weigh(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        weighted = [getattr(self.config, self.coefficients[name]) * term for name, term in terms.items()]
        return torch.stack(weighted).sum()

    def check_labels(self, labels: Mapping[str, torch.Tensor], scores: torch.Tensor) -> None:
        """Check that labels fit the clips that (B, L) `scores` are of.

        Raises:
            ValueError: One is missing or its shape does not fit.
        """
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


def _name_layers(terms: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Values (layers,) of terms as single ones by name; those of earlier decoder layers are numbered."""
    named = {}
    for name, values in terms.items():
        *earlier, named[name] = values.detach().unbind()
        named |= {f"{name}_{index}": value for index, value in enumerate(earlier)}
    return named
