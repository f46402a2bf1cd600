"""The code that is saved with a checkpoint: flat files, so that `trust_remote_code` loads it without this package.

The Hub's loader takes files of one folder that import only their neighbors. The package is laid out in rooms; saving
follows the relative imports of the entry files, gives every module that they reach a flat name, and rewrites the
import lines.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

# The classes of each family of models, by the name of its folder, which is also its `model_type`.
FAMILIES = {
    "videolights": ("VideoLightsConfig", "VideoLightsForMomentRetrieval"),
    "moment_detr": ("MomentDetrConfig", "MomentDetrForMomentRetrieval"),
    "qd_detr": ("QDDetrConfig", "QDDetrForMomentRetrieval"),
    "tr_detr": ("TRDetrConfig", "TRDetrForMomentRetrieval"),
    "zero_shot": ("ZeroShotConfig", "ZeroShotForMomentRetrieval"),
}
# The files that `auto_map` and `custom_pipelines` name, by module; all others are called after room and module.
ENTRIES = {
    "models.videolights.configuration": "configuration",
    "models.videolights.modeling": "modeling",
    "models.moment_detr.configuration": "configuration_moment_detr",
    "models.moment_detr.modeling": "modeling_moment_detr",
    "models.qd_detr.configuration": "configuration_qd_detr",
    "models.qd_detr.modeling": "modeling_qd_detr",
    "models.tr_detr.configuration": "configuration_tr_detr",
    "models.tr_detr.modeling": "modeling_tr_detr",
    "models.zero_shot.configuration": "configuration_zero_shot",
    "models.zero_shot.modeling": "modeling_zero_shot",
    "inference.processing": "processing",
    "inference.pipeline": "pipeline",
}
# The names of all code files end so, which tells stale ones from the user's own.
SUFFIX = "_videolights"
AUTO_PROCESSOR = "processing_videolights.VideoLightsProcessor"
CUSTOM_PIPELINES = {
    "video-moment-retrieval": {
        "impl": "pipeline_videolights.VideoMomentRetrievalPipeline",
        "pt": ["AutoModel"],
        "type": "multimodal",
    }
}

# A copy that came with a checkpoint is flat, and called `hub_code_videolights.py`.
_IN_PACKAGE = Path(__file__).name == "code.py"


def flat_name(module: str) -> str:
    """Name of a module in a checkpoint: `video.reader` is `video_reader_videolights`."""
    return ENTRIES.get(module, module.replace(".", "_")) + SUFFIX


def entries(family: str) -> list[str]:
    """The modules of a family's checkpoints that `auto_map` and `custom_pipelines` name."""
    return [module for module in ENTRIES if not module.startswith("models.") or module.startswith(f"models.{family}.")]


def auto_map(family: str) -> dict[str, str]:
    """What a checkpoint's `config.json` says as `auto_map`: file and class for each Auto class."""
    config, model = FAMILIES[family]
    return {
        "AutoConfig": f"{flat_name(f'models.{family}.configuration')}.{config}",
        "AutoModel": f"{flat_name(f'models.{family}.modeling')}.{model}",
        "AutoProcessor": AUTO_PROCESSOR,
    }


def write_code(folder: Path, family: str = "videolights") -> None:
    """Write the code into a checkpoint's folder, and delete code files of other versions there.

    A copy that came with a checkpoint writes its own files again.

    Args:
        folder: The checkpoint's folder.
        family: Whose checkpoint: a key of `FAMILIES`.

    Raises:
        ImportError: A module imports in a way that cannot be followed, so that the copy would be incomplete.
    """
    delete_stale_code(folder, family)
    for name, text in flat_files(family).items():
        (folder / name).write_text(text, encoding="utf-8")


def delete_stale_code(folder: Path, family: str = "videolights") -> None:
    """Delete the code files of a checkpoint's folder that this version does not write for its family."""
    for path in folder.glob(f"*{SUFFIX}.py"):
        if path.name not in flat_files(family):
            path.unlink()


@lru_cache
def flat_files(family: str = "videolights") -> dict[str, str]:
    """Text of each code file of a family's checkpoints, by its name."""
    here = Path(__file__).parent
    if not _IN_PACKAGE:
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(here.glob(f"*{SUFFIX}.py"))}
    return flatten(here.parent, entries(family))


def flatten(package: Path, entries: list[str]) -> dict[str, str]:
    """Flat files of some modules of a package and of all that they import from it.

    Args:
        package: Folder of the package.
        entries: Dotted names of modules, relative to the package.

    Returns:
        Text of each file, by its name.

    Raises:
        ImportError: A module imports in a way that cannot be followed.
    """
    files, waiting = {}, list(entries)
    for module in waiting:
        text = (package / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        lines = text.splitlines(keepends=True)
        for node in ast.walk(ast.parse(text)):
            _check_import(package.name, module, node)
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            imported = _imported_module(package, module, node)
            written = f"from {'.' * node.level}{node.module} import"
            line = lines[node.lineno - 1]
            if written not in line:
                raise ImportError(f"{module}, line {node.lineno}: write this import as `{written} ...`.")
            lines[node.lineno - 1] = line.replace(written, f"from .{flat_name(imported)} import")
            if imported not in waiting:
                waiting.append(imported)
        if module == "hub.code":
            # The loader copies a file's neighbors to its cache by the import lines that it finds in the text, run or
            # not: these make every entry bring all the others, so that a loaded copy can save itself again.
            lines += ["\n\nif False:\n", *(f"    from .{flat_name(name)} import __name__\n" for name in entries)]
        files[f"{flat_name(module)}.py"] = "".join(lines)
    return files


def _check_import(package: str, importer: str, node: ast.AST) -> None:
    """Refuse imports by name, and absolute imports of the package.

    Raises:
        ImportError: The statement is one.
    """
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
        raise ImportError(f"{importer}, line {node.lineno}: an import by name cannot travel with a checkpoint.")
    if isinstance(node, ast.Import):
        imported = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        imported = [node.module or ""]
    else:
        return
    if any(name.split(".")[0] == package for name in imported):
        raise ImportError(
            f"{importer}, line {node.lineno}: code that travels with a checkpoint imports its neighbors by relative "
            "imports."
        )


def _imported_module(package: Path, importer: str, node: ast.ImportFrom) -> str:
    """The module of the package that a relative import takes names from.

    Raises:
        ImportError: It names a package, or a module that does not exist.
    """
    parents = importer.split(".")[: -node.level]
    module = ".".join([*parents, node.module or ""])
    if node.module is None or not (package / f"{module.replace('.', '/')}.py").is_file():
        raise ImportError(
            f"{importer}, line {node.lineno}: import names from a module (`from .module import name`), not a package."
        )
    return module


__all__ = ["AUTO_PROCESSOR", "CUSTOM_PIPELINES", "FAMILIES", "auto_map", "write_code"]
