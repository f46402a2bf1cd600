"""What a video may claim about itself before it is refused; an environment variable raises each limit.

A few bytes can announce years of video or pictures of gigabytes. Such claims are checked before memory or time is
spent on them.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """An upper limit, and the environment variable that sets another one."""

    variable: str
    default: float

    def value(self) -> float:
        """The limit that holds now.

        Raises:
            ValueError: The environment variable is not a positive number.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not value > 0:
            raise ValueError(f"The environment variable {self.variable} must be a positive number, got {text!r}.")
        return value

    def remedy(self) -> str:
        """How to raise it, as the end of a message."""
        return f"the limit is {self.value():g}; set {self.variable} to raise it"


MAX_HOURS = Limit("VIDEOLIGHTS_MAX_VIDEO_HOURS", 24)
MAX_MEGAPIXELS = Limit("VIDEOLIGHTS_MAX_MEGAPIXELS", 100)
MAX_SPOOLED_GIGABYTES = Limit("VIDEOLIGHTS_MAX_SPOOLED_GIGABYTES", 16)
