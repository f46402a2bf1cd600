from .annotations import AnnotationError, domains_of, read_annotations, select_domain
from .build import BuildSettings, build_feature_dataset
from .collator import BatchLengths, VideoLightsDataCollator
from .coverage import MomentCoverage
from .dataset import FeatureDataset, table_backbones
from .features import FeatureFileError
from .items import Item, ItemBuilder, QueryWindow, TimeAxis
from .labels import LABEL_RULES, Labels, draw_generator, make_labels
from .provenance import read_backbone_checkpoints
from .publishing import export_parquet, push_feature_dataset
from .report import FeatureBuildError
from .resident import ResidentFeatures
from .specs import DATASETS, DatasetSpec, get_dataset_spec
from .streaming import StreamingFeatureDataset
from .tables import load_feature_dataset

__all__ = [
    "DATASETS",
    "LABEL_RULES",
    "AnnotationError",
    "BatchLengths",
    "BuildSettings",
    "DatasetSpec",
    "FeatureBuildError",
    "FeatureDataset",
    "FeatureFileError",
    "Item",
    "ItemBuilder",
    "Labels",
    "MomentCoverage",
    "QueryWindow",
    "ResidentFeatures",
    "StreamingFeatureDataset",
    "TimeAxis",
    "VideoLightsDataCollator",
    "build_feature_dataset",
    "domains_of",
    "draw_generator",
    "export_parquet",
    "get_dataset_spec",
    "load_feature_dataset",
    "make_labels",
    "push_feature_dataset",
    "read_annotations",
    "read_backbone_checkpoints",
    "select_domain",
    "table_backbones",
]
