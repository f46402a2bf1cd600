"""VideoLights for Transformers: find the moments in a video that a sentence describes, and score every clip.

Names are imported on first use, so that `import videolights_hf` costs little; `__init__.pyi` lists them.
"""

import lazy_loader

from .hub.registration import register_with_transformers

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

register_with_transformers()
