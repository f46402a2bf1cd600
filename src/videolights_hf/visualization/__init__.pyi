from .answers import QueryAnswers
from .breakdowns import plot_breakdown
from .comparison import plot_comparison
from .errors import choose_queries
from .moments import plot_moments
from .predictions import plot_predictions, plot_sections
from .relevance import STAGES, StageRelevance, plot_relevance
from .saving import save_figure
from .stages import relevance_through_stages
from .training import plot_training
from .truth import true_saliency

__all__ = [
    "STAGES",
    "QueryAnswers",
    "StageRelevance",
    "choose_queries",
    "plot_breakdown",
    "plot_comparison",
    "plot_moments",
    "plot_predictions",
    "plot_relevance",
    "plot_sections",
    "plot_training",
    "relevance_through_stages",
    "save_figure",
    "true_saliency",
]
