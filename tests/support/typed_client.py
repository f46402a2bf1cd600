"""A program of a user, which `tests/test_typing.py` type-checks; nobody runs it.

Every `reveal_type` is followed by the type that stands at that door.
"""

from pathlib import Path

import numpy as np
from typing_extensions import reveal_type

from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsProcessor, VideoMomentRetrievalPipeline
from videolights_hf.data import FeatureDataset, VideoLightsDataCollator, load_feature_dataset
from videolights_hf.training import VideoLightsTrainer, VideoLightsTrainingArguments

finder = VideoMomentRetrievalPipeline.from_pretrained("folder", device="cpu")
reveal_type(finder)  # VideoMomentRetrievalPipeline
reveal_type(finder("video.mp4", "a dog"))  # MomentResult
reveal_type(finder("video.mp4", "a dog")["moments"])  # list[Moment]
reveal_type(finder("video.mp4", "a dog")["moments"][0]["start"])  # float
reveal_type(finder(Path("video.mp4"), ["a dog", "a cat"], top_k=3))  # list[MomentResult]
reveal_type(finder(np.zeros((4, 8, 8, 3), np.uint8), "a dog", fps=2.0))  # MomentResult
reveal_type(finder(["one.mp4", "two.mp4"], "a dog"))  # list[MomentResult]
reveal_type(finder([Path("one.mp4"), "two.mp4"], ["a dog", "a cat"]))  # list[list[MomentResult]]

processor = VideoLightsProcessor.from_pretrained("folder")
reveal_type(processor)  # VideoLightsProcessor
video = processor.encode_video("video.mp4")
reveal_type(video)  # VideoFeatures
reveal_type(finder(video, "a dog")["saliency"])  # list[float]
reveal_type(processor.encode_text("a dog"))  # list[dict[str, ndarray]]
inputs = processor(videos=video, text="a dog")
reveal_type(inputs)  # BatchFeature

model = VideoLightsForMomentRetrieval.from_pretrained("folder")
reveal_type(model)  # VideoLightsForMomentRetrieval
outputs = model(**inputs)
reveal_type(processor.post_process_moment_retrieval(outputs, video.duration))  # list[MomentPrediction]

# The `datasets` library ships no types, so that its tables are of none.
dataset = FeatureDataset.from_config(load_feature_dataset("features"), "train", model.config, training=True)
reveal_type(dataset)  # FeatureDataset
arguments = VideoLightsTrainingArguments(output_dir="run")
reveal_type(arguments.moment_selection)  # MomentSelection
trainer = VideoLightsTrainer(model, arguments, data_collator=VideoLightsDataCollator(), train_dataset=dataset)
reveal_type(trainer)  # VideoLightsTrainer
reveal_type(trainer.train())  # TrainOutput
reveal_type(trainer.evaluate())  # dict[str, float]
