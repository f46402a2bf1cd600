"""The app: choose a video in a browser, say what to look for, and watch what was found.

Needs the `app` extra: `pip install "videolights-hf[app]"`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
