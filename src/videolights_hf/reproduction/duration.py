"""The plan of a table in words, with the time that its runs take here."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import Subset
from transformers import TrainerCallback

from ..common.times import format_duration
from ..data.dataset import FeatureDataset
from ..training.preparation import build_model, fit_config_to_data
from ..training.trainer import VideoLightsTrainer
from .plan import Plan
from .runs import PlannedRun, finished_metrics

_STEPS = 4
