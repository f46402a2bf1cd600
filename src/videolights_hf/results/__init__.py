"""What was found in a video as files that one can keep: tables, captions, timelines, pages, pictures and excerpts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
