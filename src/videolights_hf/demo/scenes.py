"""Plan of the world's videos: which scenes follow one another, how each object moves, and what is asked.

A plan is drawn from (world seed, split, index) alone, so the same three always give the same video, and no two splits can
share one. Scenes begin and end on whole seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from math import pi, sin

import numpy as np

from .vocabulary import BACKGROUNDS, COLORS, SHAPES, Query, SceneKind

SPLITS: tuple[str, ...] = ("train", "validation", "test", "demo")
"""Names of the disjoint families of videos; the position of a name is part of its videos' seed."""

MIN_RADIUS = 0.13
"""Radius of an object at the ends of its scene, as a fraction of the frame's side."""
MAX_RADIUS = 0.34
"""Largest radius that any object grows to."""

_SCENE_SECONDS = (3, 12)
_VIDEO_SECONDS = (45, 72)
_NUM_SCENES = (8, 11)
_NUM_KINDS = (5, 7)
_WORDS_PER_VIDEO = 3
_MAX_MOMENTS = 3
_LARGE_PEAK = (0.29, MAX_RADIUS)
_ANY_PEAK = (0.20, MAX_RADIUS)
_OBJECT_QUERY_RATE = 0.3


@dataclass(frozen=True)
class Scene:
    """One shot of a video: an object that moves, and grows and shrinks again, over one background.

    Attributes:
        kind: What is shown.
        start: First second of the scene.
        end: Second at which the next scene begins.
        peak_radius: Largest radius of the object, as a fraction of the frame's side.
        peak_position: Where in the scene that radius is reached, as a fraction of its length.
        phases: Four angles (radians) that set the object's path, and a fifth for its turning.
        seed: Seed of the background's pattern and of the small deviations of its colors.
    """

    kind: SceneKind
    start: int
    end: int
    peak_radius: float
    peak_position: float
    phases: tuple[float, float, float, float, float]
    seed: int

    @property
    def duration(self) -> int:
        """Length in seconds."""
        return self.end - self.start

    def radius(self, seconds: float) -> float:
        """Radius of the object `seconds` after the scene's start, as a fraction of the frame's side.

        It rises from `MIN_RADIUS` to `peak_radius`, stays there for a while and falls again.
        """
        progress = min(max(seconds / self.duration, 0.0), 1.0)
        if progress <= self.peak_position:
            rise = progress / self.peak_position
        else:
            rise = (1.0 - progress) / (1.0 - self.peak_position)
        return MIN_RADIUS + (self.peak_radius - MIN_RADIUS) * min(1.0, 1.3 * sin(pi / 2 * rise))

    def center(self, seconds: float) -> tuple[float, float]:
        """Center (x, y) of the object `seconds` after the scene's start, as fractions of the frame's side."""
        a, b, c, d, _ = self.phases
        x = 0.5 + 0.2 * sin(0.9 * seconds + a) + 0.06 * sin(2.3 * seconds + b)
        y = 0.5 + 0.2 * sin(0.7 * seconds + c) + 0.06 * sin(1.9 * seconds + d)
        return x, y

    def angle(self, seconds: float) -> float:
        """How far the object is turned from upright, in radians."""
        return 0.3 * sin(1.3 * seconds + self.phases[4])


@dataclass(frozen=True)
class VideoPlan:
    """Everything there is to know about one video: its name, its scenes in order and its (query, sentence) pairs."""

    vid: str
    scenes: tuple[Scene, ...]
    queries: tuple[tuple[Query, str], ...]

    @property
    def duration(self) -> int:
        """Length in seconds."""
        return self.scenes[-1].end

    def scene_at(self, time: float) -> Scene:
        """The scene that is on at `time` seconds; the last one from the video's end on."""
        return next((scene for scene in self.scenes if time < scene.end), self.scenes[-1])


def moments_of(query: Query, scenes: tuple[Scene, ...]) -> list[tuple[int, int]]:
    """Spans (start, end) in seconds that show what `query` asks for; matching neighbors are one moment."""
    moments: list[tuple[int, int]] = []
    for scene in scenes:
        if not query.matches(scene.kind):
            continue
        if moments and moments[-1][1] == scene.start:
            moments[-1] = (moments[-1][0], scene.end)
        else:
            moments.append((scene.start, scene.end))
    return moments


def draw_scene(rng: np.random.Generator, kind: SceneKind, start: int, end: int, large: bool = False) -> Scene:
    """Draw how a scene of `kind` from second `start` to second `end` looks; `large` makes its object grow large."""
    return Scene(
        kind=kind,
        start=start,
        end=end,
        peak_radius=float(rng.uniform(*(_LARGE_PEAK if large else _ANY_PEAK))),
        peak_position=float(rng.uniform(0.3, 0.7)),
        phases=tuple(rng.uniform(0, 2 * pi, size=5).tolist()),
        seed=int(rng.integers(2**32)),
    )


def plan_video(split: str, index: int, seed: int = 0) -> VideoPlan:
    """Plan one video of the world.

    Every kind of scene in the video is asked for, so that the frames alone never tell which one is meant, and the kinds
    are drawn from few words, so that each shares a word with others.

    Args:
        split: One of `SPLITS`.
        index: Number of the video within its split, from 0.
        seed: Seed of the world.

    Returns:
        The plan; the same arguments always give the same one.

    Raises:
        ValueError: Unknown `split`, or `index` or `seed` is not in [0, 2**32).
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: choose one of {', '.join(SPLITS)}.")
    # Larger numbers take several words of the generator's key, and two keys could then be one.
    if not (0 <= index < 2**32 and 0 <= seed < 2**32):
        raise ValueError(f"`index` and `seed` must be in [0, 2**32), got index={index}, seed={seed}.")
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    durations = _draw_durations(rng)
    order = _draw_order(rng, _draw_kinds(rng), len(durations))
    scenes = _draw_scenes(rng, order, durations)
    return VideoPlan(vid=f"{split}_{seed}_{index:05d}", scenes=scenes, queries=_draw_queries(rng, scenes))


def _draw_durations(rng: np.random.Generator) -> list[int]:
    while True:
        num_scenes = rng.integers(_NUM_SCENES[0], _NUM_SCENES[1] + 1)
        durations = rng.integers(_SCENE_SECONDS[0], _SCENE_SECONDS[1] + 1, size=num_scenes)
        if _VIDEO_SECONDS[0] <= durations.sum() <= _VIDEO_SECONDS[1]:
            return durations.tolist()


def _draw_kinds(rng: np.random.Generator) -> list[SceneKind]:
    """A first kind, one distractor that differs from it in each single word, and others of the same few words."""
    colors, shapes, backgrounds = (
        rng.choice(list(words), size=_WORDS_PER_VIDEO, replace=False).tolist()
        for words in (COLORS, SHAPES, BACKGROUNDS)
    )
    kinds = [
        SceneKind(colors[0], shapes[0], backgrounds[0]),
        SceneKind(colors[1], shapes[0], backgrounds[0]),
        SceneKind(colors[0], shapes[1], backgrounds[0]),
        SceneKind(colors[0], shapes[0], backgrounds[1]),
    ]
    others = [
        kind for kind in (SceneKind(*words) for words in product(colors, shapes, backgrounds)) if kind not in kinds
    ]
    num_kinds = int(rng.integers(_NUM_KINDS[0], _NUM_KINDS[1] + 1))
    return kinds + [others[i] for i in rng.permutation(len(others))[: num_kinds - len(kinds)]]


def _draw_order(rng: np.random.Generator, kinds: list[SceneKind], num_scenes: int) -> list[SceneKind]:
    """Every kind one to `_MAX_MOMENTS` times, never twice in a row."""
    while True:
        repeated = rng.integers(len(kinds), size=num_scenes - len(kinds)).tolist()
        order = [kinds[i] for i in rng.permutation([*range(len(kinds)), *repeated])]
        if max(order.count(kind) for kind in kinds) <= _MAX_MOMENTS and all(a != b for a, b in pairwise(order)):
            return order


def _draw_scenes(rng: np.random.Generator, order: list[SceneKind], durations: list[int]) -> tuple[Scene, ...]:
    """Scenes in order; one of each kind grows large, so that each query has a clip that every annotator rates highly."""
    large = {int(rng.choice([i for i, other in enumerate(order) if other == kind])) for kind in dict.fromkeys(order)}
    ends = np.cumsum(durations).tolist()
    return tuple(
        draw_scene(rng, kind, end - duration, end, large=i in large)
        for i, (kind, duration, end) in enumerate(zip(order, durations, ends))
    )


def _draw_queries(rng: np.random.Generator, scenes: tuple[Scene, ...]) -> tuple[tuple[Query, str], ...]:
    """One query for each kind, some of them without the background, in random order."""
    queries: dict[Query, None] = {}
    for kind in dict.fromkeys(scene.kind for scene in scenes):
        query = Query(kind.color, kind.shape)
        if rng.random() >= _OBJECT_QUERY_RATE or len(moments_of(query, scenes)) > _MAX_MOMENTS:
            query = Query(kind.color, kind.shape, kind.background)
        queries[query] = None
    distinct = list(queries)
    return tuple((distinct[i], distinct[i].sentence(rng)) for i in rng.permutation(len(distinct)))
