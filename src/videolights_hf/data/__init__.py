"""Annotations, feature files, label rules, datasets and batches.

Names are imported on first use: labels and batches need neither `datasets` nor `pyarrow`.
"""

from .._lazy import lazy_exports

_EXPORTS = {
    "AnnotationError": "annotations",
    "DATASETS": "specs",
    "DatasetSpec": "specs",
    "FeatureBuildError": "build",
    "FeatureDataset": "dataset",
    "FeatureFileError": "features",
    "ItemBuilder": "dataset",
    "LABEL_RULES": "labels",
    "StreamingFeatureDataset": "streaming",
    "VideoLightsDataCollator": "collator",
    "build_feature_dataset": "build",
    "domains_of": "annotations",
    "draw_generator": "labels",
    "export_parquet": "tables",
    "get_dataset_spec": "specs",
    "load_feature_dataset": "tables",
    "make_labels": "labels",
    "push_feature_dataset": "tables",
    "read_annotations": "annotations",
    "read_backbone_checkpoints": "provenance",
    "select_domain": "annotations",
    "table_backbones": "dataset",
}

__all__ = sorted(_EXPORTS)
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
