from .arguments import VideoLightsTrainingArguments
from .averaging import WeightAverage
from .checkpoints import find_resumable_checkpoint
from .predictions import submission_rows
from .recipes import DataSettings, Recipe, list_recipes, load_recipe
from .report import domain_table, headline_metrics, metrics_table
from .run import evaluate_checkpoint, evaluate_domains, recipe_of_checkpoint, train_domains, train_recipe
from .sampling import EpochLengthGroupedSampler
from .selection import SELECTION_WEIGHTS, selection_score
from .trainer import VideoLightsTrainer

__all__ = [
    "SELECTION_WEIGHTS",
    "DataSettings",
    "EpochLengthGroupedSampler",
    "Recipe",
    "VideoLightsTrainer",
    "VideoLightsTrainingArguments",
    "WeightAverage",
    "domain_table",
    "evaluate_checkpoint",
    "evaluate_domains",
    "find_resumable_checkpoint",
    "headline_metrics",
    "list_recipes",
    "load_recipe",
    "metrics_table",
    "recipe_of_checkpoint",
    "selection_score",
    "submission_rows",
    "train_domains",
    "train_recipe",
]
