"""Small real things that several tests need: a tiny random CLIP, and videos encoded on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.configuration_clip import CLIPTextConfig, CLIPVisionConfig

from videolights_hf.backbones.base import ClipBackbone


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for the bytes in GPT-2's and CLIP's vocabularies."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def make_tiny_tokenizer(max_length: int = 77) -> CLIPTokenizer:
    """CLIP's tokenizer without merges: every byte is a token, so no text meets the unknown token, which is EOS."""
    alphabet = byte_alphabet()
    tokens = [*alphabet, *(f"{character}</w>" for character in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=max_length
    )


def make_tiny_clip(
    image_size: int = 64, width: int = 32, projection_dim: int = 24, max_length: int = 77, seed: int = 0
) -> ClipBackbone:
    """A CLIP backbone of random weights: video features `projection_dim` wide, text features `width` wide."""
    tokenizer = make_tiny_tokenizer(max_length)
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=CLIPTextConfig(
            **shape,
            vocab_size=len(tokenizer),
            max_position_embeddings=max_length,
            projection_dim=projection_dim,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ).to_dict(),
        vision_config=CLIPVisionConfig(
            **shape, image_size=image_size, patch_size=16, projection_dim=projection_dim
        ).to_dict(),
        projection_dim=projection_dim,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    return ClipBackbone(model, tokenizer)


def gray_frames(levels: Sequence[int], width: int = 64, height: int = 48) -> np.ndarray:
    """One-colour frames, (T, height, width, 3) uint8. Encoding and scaling may shift a level by one or two."""
    return np.broadcast_to(
        np.asarray(levels, dtype=np.uint8)[:, None, None, None], (len(levels), height, width, 3)
    ).copy()


def numbered_frames(numbers: Sequence[int], width: int = 64, height: int = 48) -> np.ndarray:
    """Frames (T, height, width, 3) uint8 that carry their number, 0 to 255, as eight black or white bands."""
    bits = np.unpackbits(np.asarray(numbers, dtype=np.uint8)[:, None], axis=1)
    rows = np.repeat(bits, height // 8, axis=1) * np.uint8(255)
    return np.broadcast_to(rows[:, :, None, None], (len(rows), height, width, 3)).copy()


def read_number(frame: np.ndarray) -> int:
    """Number of a frame (H, W, ...) made by `numbered_frames`, after encoding, scaling or cropping to its height."""
    band = len(frame) // 8
    bits = [frame[band * index + band // 2].mean() > 127 for index in range(8)]
    return int(np.packbits(bits)[0])


def write_video(
    path: Path | str,
    frames: np.ndarray,
    fps: Fraction | float = 25,
    *,
    times: Sequence[Fraction | float] | None = None,
    codec: str = "libx264",
    rotation: int | None = None,
    options: dict[str, str] | None = None,
    format: str | None = None,
) -> Path:
    """Encode frames (T, H, W, 3) uint8 RGB to a file.

    Args:
        path: The file; its suffix chooses the container unless `format` does.
        frames: The pictures.
        fps: Frames per second, and the stream's nominal rate.
        times: Presentation times in seconds, for a variable frame rate.
        codec: Name of the encoder.
        rotation: Degrees, counter-clockwise, by which players are asked to turn the picture.
        options: Options of the encoder.
        format: Name of the container.
    """
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 90_000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if times is not None:
                frame.time_base = Fraction(1, 90_000)
                frame.pts = round(Fraction(times[index]) * 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)
