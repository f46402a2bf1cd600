"""Synthetic pretraining data: captions of videos as queries (Algorithm 1), and subtitles as queries.

Names are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
