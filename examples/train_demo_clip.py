"""Train the demo's tiny CLIP and its tokenizer on frames of the made-up world.

    python examples/train_demo_clip.py runs/demo_clip

The model is transformers' own `CLIPModel` with a small config. A batch holds two frames of each of many different kinds of
scenes, so that most negatives differ from the positive in one word. Frames are rendered without the video codec; JPEG at a
random quality stands in for its losses. Takes about fifteen minutes on one CPU core.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from tokenizers import pre_tokenizers
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer, get_cosine_schedule_with_warmup

from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.demo import Query, SceneKind, all_kinds, draw_scene, render_scene_frame

IMAGE_SIZE = 64
MAX_TOKENS = 32
# Captions may also name the object's size, which the queries of the videos never do: it teaches the image features to tell
# a large object from a small one, and that is what the highlights of this world are about. The radii (fractions of the
# frame's side) leave gaps, in which the size has no name.
SIZES = {"tiny": (0.0, 0.15), "small": (0.16, 0.19), "big": (0.205, 0.24), "huge": (0.26, 1.0)}


@dataclass(frozen=True)
class Frame:
    """One training image (H, W, 3), uint8, and what it shows."""

    image: np.ndarray
    kind: SceneKind
    size: str | None


def build_tokenizer(sentences: list[str]) -> CLIPTokenizer:
    """A CLIP tokenizer with merges learned from `sentences`, which can spell any other text byte by byte."""
    learned = CLIPTokenizer().train_new_from_iterator(sentences, vocab_size=1_000, show_progress=False)
    model = json.loads(learned.backend_tokenizer.to_str())["model"]
    vocabulary = dict(model["vocab"])
    # Training leaves out every byte that never ended a word; the unknown token is also the end of the sentence.
    for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
        for token in (byte, f"{byte}</w>"):
            vocabulary.setdefault(token, len(vocabulary))
    merges = [tuple(merge) for merge in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A randomly initialized CLIP of 0.4 M parameters."""
    text_config = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision_config = {
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIZE,
        "patch_size": 8,
    }
    return CLIPModel(CLIPConfig(text_config=text_config, vision_config=vision_config, projection_dim=64))


def render_frames(
    rng: np.random.Generator, scenes_per_kind: int, frames_per_scene: int
) -> dict[SceneKind, list[Frame]]:
    """Frames of every kind of scene, at the model's image size."""
    frames: dict[SceneKind, list[Frame]] = {kind: [] for kind in all_kinds()}
    for kind in tqdm(frames, desc="Rendering frames", unit="kind"):
        for _ in range(scenes_per_kind):
            scene = draw_scene(rng, kind, start=0, end=int(rng.integers(3, 13)))
            for seconds in rng.uniform(0, scene.duration, size=frames_per_scene):
                radius = scene.radius(seconds)
                size = next((name for name, (low, high) in SIZES.items() if low <= radius < high), None)
                image = compress(render_scene_frame(scene, seconds), quality=int(rng.integers(30, 96)))
                image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
                frames[kind].append(Frame(np.asarray(image), kind, size))
    return frames


def compress(frame: np.ndarray, quality: int) -> Image.Image:
    """The frame (H, W, 3) after JPEG at `quality`."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer)


def draw_batch(
    rng: np.random.Generator, frames: dict[SceneKind, list[Frame]], num_kinds: int
) -> tuple[list[Frame], list[str], np.ndarray]:
    """Two frames of each of `num_kinds` kinds, a caption for each, and which captions (rows) fit which frames (columns)."""
    kinds = [list(frames)[i] for i in rng.choice(len(frames), size=num_kinds, replace=False)]
    batch = [frames[kind][i] for kind in kinds for i in rng.choice(len(frames[kind]), size=2, replace=False)]
    captions, fits = [], np.zeros((len(batch), len(batch)), dtype=bool)
    for row, frame in enumerate(batch):
        kind = frame.kind
        query = Query(kind.color, kind.shape, kind.background if rng.random() < 0.7 else None)
        size = frame.size if rng.random() < 0.4 else None
        captions.append(query.sentence(rng, size))
        fits[row] = [query.matches(other.kind) and (size is None or other.size in (size, None)) for other in batch]
    return batch, captions, fits


def contrastive_loss(logits: torch.Tensor, fits: torch.Tensor) -> torch.Tensor:
    """CLIP's symmetric cross-entropy for logits (B, B), without the negatives that fit as well as the positive."""
    diagonal = torch.eye(len(logits), dtype=torch.bool)
    logits = logits.masked_fill(fits & ~diagonal, float("-inf"))
    targets = torch.arange(len(logits))
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


@torch.no_grad()
def zero_shot_accuracy(
    model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessorPil, frames: dict[SceneKind, list[Frame]]
) -> float:
    """Percentage of frames whose own caption is the best of the captions of all kinds of scenes."""
    rng = np.random.default_rng(0)
    captions = [Query(kind.color, kind.shape, kind.background).sentence(rng) for kind in frames]
    text = tokenizer(captions, padding=True, return_tensors="pt")
    correct = []
    for target, own in enumerate(frames.values()):
        pixels = processor([frame.image for frame in own], return_tensors="pt").pixel_values
        logits = model(pixel_values=pixels, **text).logits_per_image
        correct.append((logits.argmax(dim=1) == target).float().mean().item())
    return 100 * sum(correct) / len(correct)


def main(
    output: Annotated[Path, typer.Argument(help="Folder for the model.")],
    steps: Annotated[int, typer.Option()] = 3_000,
    kinds_per_batch: Annotated[int, typer.Option(help="Half the batch size.")] = 48,
    scenes_per_kind: Annotated[int, typer.Option()] = 60,
    learning_rate: Annotated[float, typer.Option()] = 1e-3,
    seed: Annotated[int, typer.Option()] = 0,
    num_threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train the model and save it with its tokenizer and image processor."""
    torch.set_num_threads(num_threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    kinds = all_kinds()
    sentences = [
        Query(kind.color, kind.shape, background).sentence(rng, size)
        for kind in kinds
        for background in (kind.background, None)
        for size in (None, *SIZES)
    ]
    tokenizer = build_tokenizer(sentences)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    model = build_model(tokenizer)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")
    frames = render_frames(rng, scenes_per_kind, frames_per_scene=4)

    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.05)
    scheduler = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    progress = tqdm(range(steps), desc="Training CLIP", unit="step", mininterval=5)
    for step in progress:
        batch, captions, fits = draw_batch(rng, frames, kinds_per_batch)
        pixels = processor([frame.image for frame in batch], return_tensors="pt").pixel_values
        outputs = model(pixel_values=pixels, **tokenizer(captions, padding=True, return_tensors="pt"))
        loss = contrastive_loss(outputs.logits_per_text, torch.from_numpy(fits))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")

    model.eval()
    held_out = render_frames(np.random.default_rng([seed, 1]), scenes_per_kind=5, frames_per_scene=2)
    accuracy = zero_shot_accuracy(model, tokenizer, processor, held_out)
    print(f"Zero-shot accuracy on fresh frames, {len(kinds)} captions: {accuracy:.1f} %")
    for part in (model, tokenizer, processor):
        part.save_pretrained(output)
    print(f"Saved to {output}")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
