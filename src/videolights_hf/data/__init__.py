"""Annotations, feature files, label rules, datasets and batches.

Names are imported on first use: labels and batches need neither `datasets` nor `pyarrow`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
