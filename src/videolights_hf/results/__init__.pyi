from .answers import Span, VideoAnswers
from .formats import FORMATS, Format

__all__ = ["FORMATS", "Format", "Span", "VideoAnswers"]
