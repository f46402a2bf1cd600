"""Pictures (needs the `viz` extra): functions that take arrays or results and return matplotlib figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
