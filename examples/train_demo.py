"""Train the demo's tiny VideoLights on a rendered folder of the made-up world, with transformers' plain `Trainer`.

    python examples/make_world.py runs/world/train --split train --num-videos 700
    python examples/train_demo_clip.py runs/demo_clip
    python examples/train_demo.py runs/world/train runs/demo_clip runs/demo_checkpoint

The output folder holds everything that inference needs: the model, the processor's settings and, in `backbones/clip`, CLIP.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm
from transformers import AutoConfig, Trainer, TrainingArguments, set_seed

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval, VideoLightsProcessor
from videolights_hf.data import VideoLightsDataCollator, draw_generator, make_labels
from videolights_hf.demo import ANNOTATIONS_FILE, CLIP_SECONDS


class WorldDataset(Dataset):
    """Features and labels of every query of a folder that `make_world.py` wrote.

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
            "labels": make_labels(annotation, len(video_features), CLIP_SECONDS, "graded", rng),
        }

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


def main() -> None:
    """Parses the arguments, trains, and saves one folder that holds everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path, help="folder of videos with their annotations")
    parser.add_argument("clip", type=Path, help="CLIP checkpoint that encodes frames and sentences")
    parser.add_argument("output", type=Path, help="folder to save the checkpoint to")
    parser.add_argument("--epochs", type=float, default=16)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-threads", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.num_threads)
    set_seed(args.seed)
    clip_config = AutoConfig.from_pretrained(args.clip)
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
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={"clip": str(args.clip.resolve())})
    dataset = WorldDataset(args.world, processor)
    print(f"{model.num_parameters():,} parameters, {len(dataset)} queries")

    training_args = TrainingArguments(
        output_dir=str(args.output),
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=200,
        weight_decay=1e-4,
        max_grad_norm=1.0,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=args.seed,
    )
    trainer = Trainer(model=model, args=training_args, train_dataset=dataset, data_collator=VideoLightsDataCollator())
    trainer.train()
    model.save_pretrained(args.output, include_code=False)
    processor.save_pretrained(args.output)
    print(f"Saved to {args.output}")


if __name__ == "__main__":
    main()
