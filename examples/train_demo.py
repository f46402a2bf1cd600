"""Train the demo's tiny VideoLights on a rendered folder of the made-up world, with transformers' plain `Trainer`.

    python examples/make_world.py runs/world/train --split train --num-videos 700
    python examples/train_demo_clip.py runs/demo_clip
    python examples/train_demo.py runs/world/train runs/demo_clip runs/demo_checkpoint

The output folder holds everything that inference needs: the model, the processor's settings, and CLIP in `backbones/clip`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch.utils.data import Dataset
from tqdm.auto import tqdm
from transformers import AutoConfig, Trainer, TrainingArguments, set_seed

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval, VideoLightsProcessor
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.data import TimeAxis, VideoLightsDataCollator, draw_generator, make_labels
from videolights_hf.demo import ANNOTATIONS_FILE, CLIP_SECONDS


class WorldDataset(Dataset):
    """Features and labels of every query in a folder that `make_world.py` wrote.

    Each video is decoded and encoded once, whatever the number of its queries.
    """

    def __init__(self, folder: Path, processor: VideoLightsProcessor):
        lines = (folder / ANNOTATIONS_FILE).read_text(encoding="utf-8").splitlines()
        annotations: list[dict[str, Any]] = [json.loads(line) for line in lines]
        vids = list(dict.fromkeys(annotation["vid"] for annotation in annotations))
        videos = {
            vid: processor.encode_video(folder / f"{vid}.mp4")
            for vid in tqdm(vids, desc="Encoding videos", unit="video")
        }
        texts = processor.encode_text([annotation["query"] for annotation in annotations])
        self.items = [
            self._item(processor(videos=videos[annotation["vid"]], text=text), annotation)
            for annotation, text in zip(annotations, texts)
        ]

    @staticmethod
    def _item(inputs: dict[str, torch.Tensor], annotation: dict[str, Any]) -> dict[str, Any]:
        video_features = inputs["video_features"][0]
        rng = draw_generator(seed=0, epoch=0, qid=annotation["qid"])
        return {
            "video_features": video_features,
            "text_features": inputs["text_features"][0],
            "labels": make_labels(
                annotation, TimeAxis.of_query(annotation, len(video_features), CLIP_SECONDS), "graded", rng
            ),
        }

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


def main(
    world: Annotated[Path, typer.Argument(help="Folder of videos with their annotations.")],
    clip: Annotated[Path, typer.Argument(help="CLIP checkpoint that encodes frames and sentences.")],
    output: Annotated[Path, typer.Argument(help="Folder for the checkpoint.")],
    epochs: Annotated[float, typer.Option()] = 16,
    batch_size: Annotated[int, typer.Option()] = 32,
    learning_rate: Annotated[float, typer.Option()] = 1e-3,
    seed: Annotated[int, typer.Option()] = 0,
    num_threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train, and save one folder that holds everything."""
    torch.set_num_threads(num_threads)
    set_seed(seed)
    clip_config = AutoConfig.from_pretrained(clip)
    config = VideoLightsConfig(
        video_backbones=[["clip", clip_config.projection_dim]],
        text_backbones=[["clip", clip_config.text_config.hidden_size]],
        clip_length=CLIP_SECONDS,
        hidden_size=64,
        num_attention_heads=4,
        intermediate_size=256,
        num_encoder_layers=2,
        num_decoder_layers=2,
        input_dropout=0.1,
    )
    model = VideoLightsForMomentRetrieval(config)
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={"clip": str(clip.resolve())})
    dataset = WorldDataset(world, processor)
    print(f"{model.num_parameters():,} parameters, {len(dataset)} queries")

    training_args = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=200,
        weight_decay=1e-4,
        max_grad_norm=1.0,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=seed,
    )
    trainer = Trainer(model=model, args=training_args, train_dataset=dataset, data_collator=VideoLightsDataCollator())
    trainer.train()
    model.save_pretrained(output, include_code=False)
    processor.save_pretrained(output)
    print(f"Saved to {output}")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
