"""Train the made-up world's captioner, which writes a pretraining corpus there.

    python examples/train_demo_captioner.py runs/demo_captioner

The model is transformers' own `BlipForConditionalGeneration` with a small config, and a tokenizer of the world's words. It
sees frames of freshly drawn scenes, never a video. Frames are rendered without the video codec; JPEG at a random quality
stands in for its losses. Takes about ten minutes on one CPU core.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from tqdm.auto import tqdm
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    get_cosine_schedule_with_warmup,
)

from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.demo import (
    BACKGROUNDS,
    COLORS,
    SHAPES,
    Query,
    SceneKind,
    all_kinds,
    draw_scene,
    render_scene_frame,
)

IMAGE_SIZE = 64
MAX_TOKENS = 24
BACKGROUND_RATE = 0.7


def build_processor() -> BlipProcessor:
    """Image processor, and a tokenizer that knows the words of the world and no others."""
    rng = np.random.default_rng(0)
    sentences = [query_of(kind, named).sentence(rng) for kind in all_kinds() for named in (True, False)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    # Not learned by the library's trainer, which numbers the pieces of words differently in each run.
    words = sorted({word for sentence in sentences for word in re.findall(r"\w+|[^\w\s]", sentence.lower())})
    vocabulary = {token: index for index, token in enumerate([*special, *words])}
    # BLIP's decoder begins with a token of its own; as a special token it is left out of decoded captions.
    tokenizer = BertTokenizer(vocab=vocabulary, bos_token="[DEC]", model_max_length=MAX_TOKENS)
    return BlipProcessor(BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}), tokenizer)


def build_config(tokenizer: BertTokenizer) -> BlipConfig:
    """The config of a captioner of 0.4 M parameters."""
    text_config = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        # `generate` drops the last token of its prompt, which is this one, and stops at `sep_token_id`.
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision_config = {
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIZE,
        "patch_size": 8,
        # The default is next to zero, as the published checkpoints never started from it.
        "initializer_range": 0.02,
    }
    return BlipConfig(text_config=text_config, vision_config=vision_config, image_text_hidden_size=64)


def query_of(kind: SceneKind, with_background: bool) -> Query:
    """The query that `kind` answers, with or without its background."""
    return Query(kind.color, kind.shape, kind.background if with_background else None)


def render_frames(
    rng: np.random.Generator, scenes_per_kind: int, frames_per_scene: int
) -> dict[SceneKind, np.ndarray]:
    """Frames (N, IMAGE_SIZE, IMAGE_SIZE, 3), uint8, of every kind of scene."""
    frames: dict[SceneKind, np.ndarray] = {}
    for kind in tqdm(all_kinds(), desc="Rendering frames", unit="kind"):
        scenes = [draw_scene(rng, kind, start=0, end=int(rng.integers(3, 13))) for _ in range(scenes_per_kind)]
        frames[kind] = np.stack(
            [
                shrink(render_scene_frame(scene, seconds), quality=int(rng.integers(30, 96)))
                for scene in scenes
                for seconds in rng.uniform(0, scene.duration, size=frames_per_scene)
            ]
        )
    return frames


def shrink(frame: np.ndarray, quality: int) -> np.ndarray:
    """The frame (H, W, 3) after JPEG at `quality`, at the model's size."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def draw_frames(
    rng: np.random.Generator, frames: dict[SceneKind, np.ndarray], size: int
) -> tuple[list[SceneKind], list[np.ndarray]]:
    """Random kinds of scenes, and a frame of each."""
    kinds = [list(frames)[i] for i in rng.integers(len(frames), size=size)]
    return kinds, [frames[kind][rng.integers(len(frames[kind]))] for kind in kinds]


def train(
    model: BlipForConditionalGeneration, losses: Iterator[torch.Tensor], steps: int, learning_rate: float
) -> None:
    """Take one optimizer step per loss, `steps` in total."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.05)
    scheduler = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    model.train()
    progress = tqdm(range(steps), desc="Training the captioner", unit="step", mininterval=5)
    for step in progress:
        loss = next(losses)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
    model.eval()


def caption_losses(
    model: BlipForConditionalGeneration,
    processor: BlipProcessor,
    frames: dict[SceneKind, np.ndarray],
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[torch.Tensor]:
    """Cross-entropy of the next word of each frame's sentence."""
    while True:
        kinds, images = draw_frames(rng, frames, batch_size)
        sentences = [query_of(kind, rng.random() < BACKGROUND_RATE).sentence(rng) for kind in kinds]
        inputs = processor(images=images, text=sentences, padding=True, return_tensors="pt")
        inputs["input_ids"][:, 0] = processor.tokenizer.bos_token_id
        labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
        yield model(**inputs, labels=labels).loss


def names_rightly(caption: str, kind: SceneKind) -> dict[str, bool]:
    """Which words of `kind`, and no others of their sort, a caption names."""
    words = set(caption.lower().replace(".", " ").replace(",", " ").split())
    backgrounds = {name for name, phrases in BACKGROUNDS.items() if any(phrase in caption for phrase in phrases)}
    color, shape = words & set(COLORS) == {kind.color}, words & set(SHAPES) == {kind.shape}
    background = backgrounds == {kind.background}
    return {
        "color": color,
        "shape": shape,
        "background": background,
        "color and shape": color and shape,
        "all three": color and shape and background,
    }


@torch.no_grad()
def caption_accuracy(
    model: BlipForConditionalGeneration, processor: BlipProcessor, frames: dict[SceneKind, np.ndarray]
) -> dict[str, float]:
    """Percentage of frames whose caption names what they show (see `names_rightly`)."""
    results = []
    for kind, images in frames.items():
        inputs = processor(images=list(images), return_tensors="pt")
        captions = processor.batch_decode(
            model.generate(**inputs, max_new_tokens=MAX_TOKENS - 2), skip_special_tokens=True
        )
        results += [names_rightly(caption, kind) for caption in captions]
    return {name: 100 * float(np.mean([result[name] for result in results])) for name in results[0]}


def main(
    output: Annotated[Path, typer.Argument(help="Folder for the model.")],
    steps: Annotated[int, typer.Option()] = 2_500,
    batch_size: Annotated[int, typer.Option()] = 64,
    scenes_per_kind: Annotated[int, typer.Option()] = 40,
    held_out_scenes_per_kind: Annotated[int, typer.Option(help="Scenes to measure the model on.")] = 5,
    learning_rate: Annotated[float, typer.Option()] = 1e-3,
    seed: Annotated[int, typer.Option()] = 0,
    num_threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train the model, measure it on fresh frames, and save it with its processor."""
    torch.set_num_threads(num_threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    processor = build_processor()
    model = BlipForConditionalGeneration(build_config(processor.tokenizer))
    print(f"{model.num_parameters():,} parameters, {len(processor.tokenizer)} tokens")
    frames = render_frames(rng, scenes_per_kind, frames_per_scene=4)
    held_out = render_frames(np.random.default_rng([seed, 1]), held_out_scenes_per_kind, frames_per_scene=2)

    train(model, caption_losses(model, processor, frames, batch_size, rng), steps, learning_rate)
    accuracy = caption_accuracy(model, processor, held_out)
    print("Captions of fresh frames that name rightly")
    for name, percentage in accuracy.items():
        print(f"{name:>20}: {percentage:5.1f} %")
    for part in (model, processor):
        part.save_pretrained(output)
    print(f"Saved to {output}")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
