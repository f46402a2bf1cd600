"""What the world is made of, and the sentences that describe it.

A scene shows one *kind*: a colored shape over a background. A *query* asks for an object (a color and a shape), over a
given background or over any. Six colors, five shapes and five backgrounds make 150 kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (224, 44, 44),
    "yellow": (246, 214, 40),
    "green": (44, 176, 72),
    "blue": (44, 108, 236),
    "purple": (158, 62, 204),
    "white": (246, 246, 246),
}
"""RGB of each color word."""

SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "heart")

BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "plain": ("a plain wall", "a plain background"),
    "stripes": ("stripes", "a striped background"),
    "checks": ("a checkerboard", "a checkered background"),
    "dots": ("polka dots", "a dotted background"),
    "bricks": ("bricks", "a brick wall"),
}
"""The phrases that name each background."""

_SENTENCES_WITH_BACKGROUND = (
    "A {object} moves over {background}.",
    "A {object} in front of {background}",
    "a {object} drifts across {background}",
    "There is a {object} on {background}.",
    "Against {background}, a {object} floats around.",
    "We see {background} with a {object} on it.",
    "The {object} glides past {background}.",
)

_SENTENCES_WITHOUT_BACKGROUND = (
    "A {object} moves around.",
    "a {object}",
    "There is a {object}.",
    "The {object} drifts by.",
    "We can see a {object}.",
)


@dataclass(frozen=True)
class SceneKind:
    """What a scene shows: a `color` and a `shape` over a `background`, words of this module's tables."""

    color: str
    shape: str
    background: str


@dataclass(frozen=True)
class Query:
    """What a sentence asks for: a `color` and a `shape` over `background`, or over any background if that is `None`."""

    color: str
    shape: str
    background: str | None = None

    def matches(self, kind: SceneKind) -> bool:
        """Whether a scene of `kind` shows what this query asks for."""
        same_object = (self.color, self.shape) == (kind.color, kind.shape)
        return same_object and self.background in (None, kind.background)

    def sentence(self, rng: np.random.Generator, size: str | None = None) -> str:
        """Word this query.

        Args:
            rng: Draws the template and the background's name.
            size: An adjective of size to put before the color; queries of the world's videos have none.

        Returns:
            One English sentence or phrase.
        """
        words = f"{self.color} {self.shape}" if size is None else f"{size} {self.color} {self.shape}"
        if self.background is None:
            return str(rng.choice(_SENTENCES_WITHOUT_BACKGROUND)).format(object=words)
        background = str(rng.choice(BACKGROUNDS[self.background]))
        return str(rng.choice(_SENTENCES_WITH_BACKGROUND)).format(object=words, background=background)


def all_kinds() -> list[SceneKind]:
    """Every kind of scene, in a fixed order."""
    return [SceneKind(*words) for words in product(COLORS, SHAPES, BACKGROUNDS)]
