from .arguments import VideoLightsTrainingArguments
from .averaging import WeightAverage
from .checkpoints import find_resumable_checkpoint
from .domains import evaluate_domains, train_domains
from .evaluation import DivergedError, EvaluationFailedError
from .preparation import RunData
from .recipe_fields import DataSettings
from .recipe_runs import RunResults, evaluate_run, run_recipe
from .recipes import Recipe, list_recipes, load_recipe, recipe_of_checkpoint
from .report import domain_table, headline_metrics, metrics_table
from .run import evaluate_checkpoint, train_recipe
from .sampling import EpochLengthGroupedSampler
from .trainer import VideoLightsTrainer

__all__ = [
    "DataSettings",
    "DivergedError",
    "EpochLengthGroupedSampler",
    "EvaluationFailedError",
    "Recipe",
    "RunData",
    "RunResults",
    "VideoLightsTrainer",
    "VideoLightsTrainingArguments",
    "WeightAverage",
    "domain_table",
    "evaluate_checkpoint",
    "evaluate_domains",
    "evaluate_run",
    "find_resumable_checkpoint",
    "headline_metrics",
    "list_recipes",
    "load_recipe",
    "metrics_table",
    "recipe_of_checkpoint",
    "run_recipe",
    "train_domains",
    "train_recipe",
]
