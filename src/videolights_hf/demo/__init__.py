"""A small made-up world of moving shapes: videos, sentences, and the truth about both, from a seed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
