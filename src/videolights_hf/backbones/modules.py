"""Backbones of a user's own module, named on the command line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def import_backbone_module(module: str) -> None:
    """Import a module that registers backbones.

    Only what the user names is imported: no checkpoint or dataset can name code.

    Args:
        module: A Python file, or the dotted name of an installed module.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It cannot be imported.
    """
    path = Path(module)
    try:
        if path.suffix != ".py":
            importlib.import_module(module)
            return
        if not path.is_file():
            raise FileNotFoundError(f"There is no backbone module {module}.")
        present = sys.modules.get(path.stem)
        if present is not None and getattr(present, "__file__", None) == str(path.resolve()):
            return
        if present is not None:
            raise ValueError(f"another module is called {path.stem}: rename the file")
        spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
        if spec is None or spec.loader is None:
            raise ValueError("it is not a Python file")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = loaded
        try:
            spec.loader.exec_module(loaded)
        except BaseException:
            del sys.modules[path.stem]
            raise
    except FileNotFoundError:
        raise
    # What a module raises cannot be foreseen.
    except Exception as error:
        raise ValueError(
            f"The backbone module {module} cannot be imported ({type(error).__name__}: {error})."
        ) from error
