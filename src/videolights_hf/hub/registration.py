"""Registers VideoLights with transformers' Auto classes and `pipeline`, without importing them early.

`import videolights_hf` stays quick: each registration waits until the transformers module that it adds to is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .code import FAMILIES


def _configs() -> list:
    """Configuration class of each family of models."""
    modules = (import_module(f"videolights_hf.models.{family}.configuration") for family in FAMILIES)
    return [getattr(module, config) for module, (config, _) in zip(modules, FAMILIES.values())]


def _register_config() -> None:
    from transformers import AutoConfig

    from videolights_hf.backbones.slowfast_configuration import VideoLightsSlowFastConfig

    for config in (*_configs(), VideoLightsSlowFastConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_model() -> None:
    from transformers import AutoModel

    from videolights_hf.backbones.slowfast_configuration import VideoLightsSlowFastConfig
    from videolights_hf.backbones.slowfast_network import VideoLightsSlowFastModel

    for config, (family, (_, model)) in zip(_configs(), FAMILIES.items()):
        modeling = import_module(f"videolights_hf.models.{family}.modeling")
        AutoModel.register(config, getattr(modeling, model), exist_ok=True)
    AutoModel.register(VideoLightsSlowFastConfig, VideoLightsSlowFastModel, exist_ok=True)


def _register_processor() -> None:
    from transformers import AutoProcessor

    from videolights_hf.inference.processing import VideoLightsProcessor

    for config in _configs():
        AutoProcessor.register(config, VideoLightsProcessor, exist_ok=True)


def _register_pipeline() -> None:
    from videolights_hf.inference.pipeline import register_pipeline

    register_pipeline()


# The transformers module that holds each registry, and what adds to it; an entry is removed once it has run.
_pending: dict[str, Callable[[], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_model,
    "transformers.models.auto.processing_auto": _register_processor,
    "transformers.pipelines": _register_pipeline,
}
# Modules being imported, outermost first.
_loading: list[str] = []


def _register_loaded() -> None:
    """Run every registration whose transformers module has been imported.

    Our modules import from all over transformers, so a registration waits while any module of transformers or of this
    package is still loading.
    """
    if _loading:
        return
    for library in list(_pending):
        # Registering imports, which may make other registrations on the way.
        if library in sys.modules and library in _pending:
            _pending.pop(library)()


class _RegisteringLoader(Loader):
    """Loads a module as its own loader does, then registers."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        # `python -m` asks for the code, `importlib.resources` for the files.
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps its own loader, which resource and source look-ups use.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        _loading.append(module.__name__)
        try:
            self.loader.exec_module(module)
        finally:
            _loading.pop()
        _register_loaded()


class _RegistrationFinder(MetaPathFinder):
    """Runs before the other finders and wraps the loaders of transformers' modules and of ours."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        if not _pending or not fullname.startswith(("transformers.", "videolights_hf.")):
            return None
        # Only the finders after this one: a second copy of it, left by a reload, must not call back.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _RegisteringLoader(spec.loader)
                return spec
        return None


def register_with_transformers() -> None:
    """Register with what transformers has loaded now, and with the rest when it loads."""
    _register_loaded()
    if not any(isinstance(finder, _RegistrationFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RegistrationFinder())
