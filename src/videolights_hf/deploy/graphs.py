"""One network as a graph in a file: written with transformers' exporters, run by ONNX Runtime or PyTorch."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

Format = Literal["onnx", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}

Tensors = dict[str, torch.Tensor]

# Protocol buffers hold no more; larger graphs keep their weights beside them.
_LARGEST_SINGLE_FILE = 1_500_000_000
_INSTALL = 'pip install "videolights-hf[onnx]"'


class Traced(PreTrainedModel):
    """A function of tensors with the modules that it runs, in the form that transformers exports.

    Args:
        modules: What the function runs.
        compute: Takes tensors by name and returns tensors by name.
    """

    config_class = PreTrainedConfig

    def __init__(self, modules: nn.Module, compute: Callable[..., Tensors]):
        super().__init__(PreTrainedConfig())
        self.modules_of_graph = modules
        self._compute = compute
        self.eval()

    def forward(self, **inputs: torch.Tensor) -> Tensors:
        """Run the function."""
        return self._compute(**inputs)


def write_graph(traced: Traced, sample: Tensors, axes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Write a network as a graph whose named axes may have any length.

    Args:
        traced: The network, in float32 on the CPU.
        sample: Inputs to trace it with. Axes of any length are at least 2 long in it: length 1 would be fixed.
        axes: For each input the axes that may have any length.
        path: The file; its suffix says the format, `.onnx` (weights beside it, in `.onnx.data`) or `.pt2`.

    Raises:
        ValueError: An input has no axes, or one of them has the length 1 in the sample.
        ImportError: The packages that write this format are not installed.
    """
    shapes: dict[str, dict[int, Any]] = {}
    for name, tensor in sample.items():
        if any(tensor.shape[axis] < 2 for axis in axes[name]):
            raise ValueError(
                f"{name} has the shape {tuple(tensor.shape)} in the sample: its axes {axes[name]} would be fixed at the "
                "length 1. Make them at least 2 long."
            )
        shapes[name] = dict.fromkeys(axes[name], torch.export.Dim.DYNAMIC)
    exporter, config = _exporter(path.suffix, shapes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet_exporters(), torch.no_grad():
        if hasattr(exporter, "export_program"):
            exporter.save_program(exporter.export_program(traced, dict(sample), config)[0], path)
            return
        # Older versions of transformers, which leave the saving to others.
        program = exporter.export(traced, dict(sample), config)
        if path.suffix == SUFFIXES["onnx"]:
            program.save(path, external_data=True)
        else:
            torch.export.save(program, path)


def quantize_graph(path: Path) -> None:
    """Round the weights of an ONNX graph's matrix products to eight bits, in place.

    Activations are rounded while the graph runs, each batch by its own range (dynamic quantization).
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise ImportError(f"int8 needs onnx and onnxruntime: {_INSTALL}.") from error

    data = path.with_name(f"{path.name}.data")
    size = path.stat().st_size + (data.stat().st_size if data.exists() else 0)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        quantized = Path(folder, path.name)
        with _quiet_exporters():
            quantize_dynamic(
                str(path),
                str(quantized),
                # Eight-bit convolutions are slower than float ones on CPUs.
                op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=QuantType.QInt8,
                use_external_data_format=size > _LARGEST_SINGLE_FILE,
            )
        data.unlink(missing_ok=True)
        for file in Path(folder).iterdir():
            os.replace(file, path.parent / file.name)


class Graph(ABC):
    """A graph that runs. It may be called from several threads at once.

    Attributes:
        path: Its file.
        inputs: Names of the tensors that it takes; all must be given.
        expected: Names of the tensors that it must return.
    """

    path: Path
    inputs: frozenset[str]
    expected: Set[str] = frozenset()

    def __call__(self, **tensors: torch.Tensor) -> Tensors:
        """Run it on tensors of the CPU.

        Raises:
            ValueError: An input is missing or is none of the graph's, or the graph is damaged.
        """
        if tensors.keys() != self.inputs:
            # What runs the graph below would ignore an unknown mask without a word.
            raise ValueError(
                f"The graph takes {', '.join(sorted(self.inputs))}, but was given {', '.join(sorted(tensors))}."
            )
        try:
            outputs = self._run({name: _plain(tensor) for name, tensor in tensors.items()})
        except MemoryError:
            raise
        # What a damaged graph raises depends on what runs it.
        except Exception as error:
            raise ValueError(f"The graph {self.path} does not run{_in_words(error)}") from error
        missing = self.expected - outputs.keys()
        if missing:
            raise ValueError(
                f"The graph {self.path} has no output {', '.join(sorted(missing))}. Export the model again."
            )
        return outputs

    @abstractmethod
    def _run(self, tensors: Tensors) -> Tensors:
        """Outputs by name."""


class OnnxGraph(Graph):
    """A graph on ONNX Runtime.

    Args:
        path: The `.onnx` file.
        threads: CPU threads; by default as many as there are cores.
    """

    def __init__(self, path: Path, threads: int | None = None):
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"Running {path.name} needs onnxruntime: {_INSTALL}.") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Errors come as exceptions; warnings are of the graph's making.
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = frozenset(one.name for one in self._session.get_inputs())
        self._outputs = [one.name for one in self._session.get_outputs()]

    def _run(self, tensors: Tensors) -> Tensors:
        values = self._session.run(self._outputs, {name: tensor.numpy() for name, tensor in tensors.items()})
        return {name: torch.from_numpy(value) for name, value in zip(self._outputs, values, strict=True)}


class TorchGraph(Graph):
    """A graph of `torch.export`, run by PyTorch.

    Args:
        path: The `.pt2` file.
    """

    def __init__(self, path: Path):
        program = torch.export.load(str(path))
        self.inputs = frozenset(program.graph_signature.user_inputs)
        self._module = program.module()

    @torch.no_grad()
    def _run(self, tensors: Tensors) -> Tensors:
        return dict(self._module(**tensors))


def load_graph(path: Path, threads: int | None = None, outputs: Collection[str] = ()) -> Graph:
    """The graph in a file, by its suffix.

    Args:
        path: The file.
        threads: CPU threads of ONNX Runtime; PyTorch has `torch.set_num_threads`.
        outputs: Names of the tensors that it must return.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: ONNX Runtime is needed and not installed.
        ValueError: The file is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"The export is incomplete: there is no file {path}. Write it again.")
    try:
        graph = OnnxGraph(path, threads) if path.suffix == SUFFIXES["onnx"] else TorchGraph(path)
    except (ImportError, MemoryError):
        raise
    # What a damaged file raises depends on what reads it.
    except Exception as error:
        raise ValueError(f"The graph {path} cannot be loaded{_in_words(error)}") from error
    graph.path, graph.expected = path, frozenset(outputs)
    return graph


def _in_words(error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f" ({reason}): it is damaged, or of another version. Export the model again."


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """As the sample was: masks and ids int64, all else float32, on the CPU."""
    return tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else torch.int64).contiguous()


@contextlib.contextmanager
def _quiet_exporters() -> Iterator[None]:
    """Silence the exporters, which tell programmers of versions, and report each step on standard output."""
    logger, root = logging.getLogger("torch.onnx"), logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    # ONNX Runtime gives advice on quantization by the root logger itself.
    root.addFilter(_errors_only)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        root.removeFilter(_errors_only)


def _errors_only(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _exporter(suffix: str, shapes: dict[str, dict[int, Any]]) -> tuple[Any, Any]:
    """The exporter of a format, and its settings."""
    try:
        if suffix != SUFFIXES["onnx"]:
            from transformers.exporters.exporter_dynamo import DynamoConfig, DynamoExporter

            return DynamoExporter(), DynamoConfig(dynamic=True, dynamic_shapes=shapes)
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

        return OnnxExporter(), OnnxConfig(dynamic=True, dynamic_shapes=shapes)
    except ImportError as error:
        raise ImportError(f"Export needs onnx and onnxscript ({error}): {_INSTALL}.") from error


__all__ = ["Format", "Graph", "Traced", "load_graph", "quantize_graph", "write_graph"]
