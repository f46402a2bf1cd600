from .answers import AnswerService, ServiceError, ServiceSettings
from .client import MomentClient
from .export import Exported, export_detector, export_model
from .graphs import Graph, load_graph, quantize_graph, write_graph
from .runner import ExportedDetector, exported_pipeline, is_exported, load_pipeline
from .service import create_app, running_service

__all__ = [
    "AnswerService",
    "Exported",
    "ExportedDetector",
    "Graph",
    "MomentClient",
    "ServiceError",
    "ServiceSettings",
    "create_app",
    "export_detector",
    "export_model",
    "exported_pipeline",
    "is_exported",
    "load_graph",
    "load_pipeline",
    "quantize_graph",
    "running_service",
    "write_graph",
]
