"""Models in deployment: as graphs of ONNX Runtime or `torch.export`, and behind HTTP.

Names are imported on first use: the client needs neither torch nor a server's packages.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
