"""Features of frozen backbones for whole corpora of videos and sentences, as files and as datasets to train on.

Names are imported on first use, so that the command line stays quick.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
