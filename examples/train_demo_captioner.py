"""Train the made-up world's captioner and image-text matcher, which write and score a pretraining corpus there.

    python examples/train_demo_captioner.py runs/demo_captioner

Both are transformers' own classes with small configs: `BlipForConditionalGeneration`, saved to OUTPUT/captioner, and
`BlipForImageTextRetrieval`, which starts from the captioner's weights, saved to OUTPUT/matcher; each with a processor and a
tokenizer of the world's words. They see frames of freshly drawn scenes, never a video. Frames are rendered without the video
codec; JPEG at a random quality stands in for its losses. Takes about fifteen minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipImageProcessorPil,
    BlipProcessor,
    PreTrainedModel,
    get_cosine_schedule_with_warmup,
)

from videolights_hf.world import (
    BACKGROUNDS,
    COLOURS,
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
    # BLIP's decoder begins with a token of its own; as a special token it is left out of decoded captions.
    tokenizer = BertTokenizer().train_new_from_iterator(
        sentences, vocab_size=1_000, new_special_tokens=["[DEC]"], show_progress=False
    )
    tokenizer = BertTokenizer(vocab=tokenizer.get_vocab(), bos_token="[DEC]", model_max_length=MAX_TOKENS)
    return BlipProcessor(BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}), tokenizer)


def build_config(tokenizer: BertTokenizer) -> BlipConfig:
    """The config of both models."""
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
    return Query(kind.colour, kind.shape, kind.background if with_background else None)


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
    """The frame (H, W, 3) after JPEG at `quality`, at the models' size."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def draw_frames(
    rng: np.random.Generator, frames: dict[SceneKind, np.ndarray], size: int
) -> tuple[list[SceneKind], list[np.ndarray]]:
    """Random kinds of scenes, and a frame of each."""
    kinds = [list(frames)[i] for i in rng.integers(len(frames), size=size)]
    return kinds, [frames[kind][rng.integers(len(frames[kind]))] for kind in kinds]


def change_one_word(rng: np.random.Generator, query: Query) -> Query:
    """A query that differs from `query` in its colour, its shape or, if it names one, its background."""
    words = {"colour": list(COLOURS), "shape": list(SHAPES), "background": list(BACKGROUNDS)}
    if query.background is None:
        del words["background"]
    field = str(rng.choice(list(words)))
    others = [word for word in words[field] if word != getattr(query, field)]
    return dataclasses.replace(query, **{field: str(rng.choice(others))})


def train(
    model: PreTrainedModel, losses: Iterator[torch.Tensor], steps: int, learning_rate: float, description: str
) -> None:
    """Takes `steps` steps down the losses, which are drawn one by one."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.05)
    scheduler = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    model.train()
    progress = tqdm(range(steps), desc=description, unit="step", mininterval=5)
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


def matching_losses(
    model: BlipForImageTextRetrieval,
    processor: BlipProcessor,
    frames: dict[SceneKind, np.ndarray],
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[torch.Tensor]:
    """Cross-entropy of whether a sentence fits a frame.

    Half of the sentences fit. Of the others half have a single word wrong, and half are of another frame of the batch.
    """
    while True:
        kinds, images = draw_frames(rng, frames, batch_size)
        own = [query_of(kind, rng.random() < BACKGROUND_RATE) for kind in kinds]
        drawn = [
            query if draw < 0.5 else change_one_word(rng, query) if draw < 0.75 else other
            for query, other, draw in zip(own, own[1:] + own[:1], rng.random(batch_size))
        ]
        fits = np.array([query.matches(kind) for query, kind in zip(drawn, kinds)])
        sentences = [query.sentence(rng) for query in drawn]
        inputs = processor(images=images, text=sentences, padding=True, return_tensors="pt")
        yield F.cross_entropy(model(**inputs).itm_score, torch.from_numpy(fits).long())


def names_rightly(caption: str, kind: SceneKind) -> dict[str, bool]:
    """Which words of `kind`, and no others of their sort, a caption names."""
    words = set(caption.lower().replace(".", " ").replace(",", " ").split())
    backgrounds = {name for name, phrases in BACKGROUNDS.items() if any(phrase in caption for phrase in phrases)}
    colour, shape = words & set(COLOURS) == {kind.colour}, words & set(SHAPES) == {kind.shape}
    background = backgrounds == {kind.background}
    return {
        "colour": colour,
        "shape": shape,
        "background": background,
        "colour and shape": colour and shape,
        "all three": colour and shape and background,
        "background not named": not backgrounds,
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


@torch.no_grad()
def matching_accuracy(
    model: BlipForImageTextRetrieval, processor: BlipProcessor, frames: dict[SceneKind, np.ndarray]
) -> dict[str, float]:
    """Percentage of frames that are told to fit their own sentence, and not to fit one with a wrong word."""
    rng = np.random.default_rng(0)
    accuracy: dict[str, list[float]] = {"right sentence": [], "one word wrong": []}
    for kind, images in frames.items():
        own = query_of(kind, True)
        for name, query in zip(accuracy, (own, change_one_word(rng, own))):
            inputs = processor(
                images=list(images), text=[query.sentence(rng) for _ in images], padding=True, return_tensors="pt"
            )
            fits = model(**inputs).itm_score.argmax(dim=1) == 1
            accuracy[name].append((fits == (name == "right sentence")).float().mean().item())
    return {name: 100 * float(np.mean(shares)) for name, shares in accuracy.items()}


def save(folder: Path, model: PreTrainedModel, processor: BlipProcessor) -> None:
    """Saves a model with its processor."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    print(f"Saved {folder}")


def report(title: str, percentages: dict[str, float]) -> None:
    """Prints percentages on one line."""
    print(f"{title}: " + ", ".join(f"{name} {value:.1f} %" for name, value in percentages.items()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains both models, measures them on fresh frames, and saves each with its processor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder to save the models to")
    parser.add_argument("--caption-steps", type=int, default=2_500)
    parser.add_argument("--matching-steps", type=int, default=1_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--scenes-per-kind", type=int, default=40)
    parser.add_argument("--held-out-scenes-per-kind", type=int, default=5, help="scenes to measure the models on")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-threads", type=int, default=1)
    args = parser.parse_args(arguments)

    torch.set_num_threads(args.num_threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    processor = build_processor()
    config = build_config(processor.tokenizer)
    captioner = BlipForConditionalGeneration(config)
    print(f"Captioner with {captioner.num_parameters():,} parameters, {len(processor.tokenizer)} tokens")
    frames = render_frames(rng, args.scenes_per_kind, frames_per_scene=4)
    held_out = render_frames(np.random.default_rng([args.seed, 1]), args.held_out_scenes_per_kind, frames_per_scene=2)

    losses = caption_losses(captioner, processor, frames, args.batch_size, rng)
    train(captioner, losses, args.caption_steps, args.learning_rate, "Training the captioner")
    report("Captions of fresh frames that name rightly", caption_accuracy(captioner, processor, held_out))
    save(args.output / "captioner", captioner, processor)

    # Draws of its own, so that the matcher does not depend on how long the captioner was trained but for its weights.
    torch.manual_seed(args.seed)
    rng = np.random.default_rng([args.seed, 2])
    matcher = BlipForImageTextRetrieval(config)
    matcher.vision_model.load_state_dict(captioner.vision_model.state_dict())
    matcher.text_encoder.load_state_dict(captioner.text_decoder.bert.state_dict())
    losses = matching_losses(matcher, processor, frames, args.batch_size, rng)
    train(matcher, losses, args.matching_steps, args.learning_rate, "Training the matcher")
    report("Sentences rightly matched to fresh frames", matching_accuracy(matcher, processor, held_out))
    save(args.output / "matcher", matcher, processor)


if __name__ == "__main__":
    main()
