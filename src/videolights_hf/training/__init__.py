"""Training and evaluation: arguments, trainer, model selection and the published recipes.

Names are imported on first use: recipes can be listed without loading torch.
"""

from .._lazy import lazy_exports

_EXPORTS = {
    "DataSettings": "recipes",
    "EpochLengthGroupedSampler": "sampling",
    "Recipe": "recipes",
    "SELECTION_WEIGHTS": "selection",
    "VideoLightsTrainer": "trainer",
    "VideoLightsTrainingArguments": "arguments",
    "WeightAverage": "averaging",
    "domain_table": "report",
    "evaluate_checkpoint": "run",
    "evaluate_domains": "run",
    "find_resumable_checkpoint": "checkpoints",
    "headline_metrics": "report",
    "list_recipes": "recipes",
    "load_recipe": "recipes",
    "metrics_table": "report",
    "recipe_of_checkpoint": "run",
    "selection_score": "selection",
    "submission_rows": "predictions",
    "train_domains": "run",
    "train_recipe": "run",
}

__all__ = sorted(_EXPORTS)
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
