from .detectors import BUNDLED, ZERO_SHOT, ZERO_SHOT_NOTE, Detector
from .launch import RunningApp, launch_app, running_app
from .settings import AppSettings

__all__ = [
    "BUNDLED",
    "ZERO_SHOT",
    "ZERO_SHOT_NOTE",
    "AppSettings",
    "Detector",
    "RunningApp",
    "launch_app",
    "running_app",
]
