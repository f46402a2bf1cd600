"""Training and evaluation: arguments, trainer, model selection and the published recipes.

Names are imported on first use: recipes can be listed without loading torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
