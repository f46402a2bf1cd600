from __future__ import annotations

import av
import numpy as np
import pytest

from videolights_hf.demo import (
    BACKGROUNDS,
    COLORS,
    FRAME_SIZE,
    FRAMES_PER_SECOND,
    SHAPES,
    SceneKind,
    draw_scene,
    plan_video,
    render_frame,
    render_scene_frame,
    render_video,
)

PLAN = plan_video("validation", 0)


def draw(kind: SceneKind, seed: int = 0):
    return draw_scene(np.random.default_rng(seed), kind, start=0, end=6, large=True)


def colored_pixels(frame: np.ndarray, color: str) -> int:
    distance = np.abs(frame.astype(int) - COLORS[color]).max(axis=-1)
    return int((distance < 40).sum())


def test_frame_is_a_square_of_bytes():
    frame = render_frame(PLAN, 0.0)
    assert frame.shape == (FRAME_SIZE, FRAME_SIZE, 3)
    assert frame.dtype == np.uint8


def test_a_frame_does_not_depend_on_those_rendered_before():
    alone = render_frame(PLAN, 30.0)
    for time in (0.0, 12.0, 31.0, 50.0):
        render_frame(PLAN, time)
    np.testing.assert_array_equal(render_frame(PLAN, 30.0), alone)


@pytest.mark.parametrize("color", COLORS)
def test_object_is_drawn_in_its_color_and_in_no_other(color):
    frame = render_scene_frame(draw(SceneKind(color, "circle", "dots")), 3.0)
    assert colored_pixels(frame, color) > 1500
    assert all(colored_pixels(frame, other) < 100 for other in COLORS if other != color)


@pytest.mark.parametrize("shape", SHAPES)
def test_object_covers_more_of_the_frame_when_its_radius_is_larger(shape):
    scene = draw(SceneKind("yellow", shape, "plain"))
    small, large = (colored_pixels(render_scene_frame(scene, seconds), "yellow") for seconds in (0.0, 3.0))
    assert large > 2 * small > 100


def test_shapes_look_different():
    frames = [render_scene_frame(draw(SceneKind("red", shape, "plain")), 3.0) for shape in SHAPES]
    masks = [np.abs(frame.astype(int) - COLORS["red"]).max(axis=-1) < 40 for frame in frames]
    for i, one in enumerate(masks):
        for other in masks[i + 1 :]:
            assert (one ^ other).sum() > 0.1 * (one | other).sum()


def test_backgrounds_look_different():
    frames = [render_scene_frame(draw(SceneKind("red", "circle", name)), 0.0).astype(int) for name in BACKGROUNDS]
    for i, one in enumerate(frames):
        for other in frames[i + 1 :]:
            assert np.abs(one - other).mean() > 8


def test_the_same_kind_looks_different_in_another_scene():
    kind = SceneKind("blue", "star", "checks")
    one, other = (render_scene_frame(draw(kind, seed), 1.0).astype(int) for seed in (0, 1))
    assert np.abs(one - other).mean() > 8


def test_object_and_background_move():
    scene = draw(SceneKind("white", "heart", "stripes"))
    one, other = (render_scene_frame(scene, seconds).astype(int) for seconds in (2.0, 2.6))
    assert (np.abs(one - other).max(axis=-1) > 10).mean() > 0.2


def test_encoded_video_shows_the_rendered_frames(tmp_path):
    path = tmp_path / "video.mp4"
    render_video(PLAN, path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == FRAMES_PER_SECOND
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
    assert len(frames) == PLAN.duration * FRAMES_PER_SECOND
    for time, decoded in frames[::37]:
        rendered = render_frame(PLAN, time)
        assert np.abs(decoded.astype(int) - rendered).mean() < 8
    assert path.stat().st_size < 300_000


def test_the_same_plan_gives_the_same_file(tmp_path):
    for name in ("one.mp4", "other.mp4"):
        render_video(plan_video("validation", 1), tmp_path / name)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "other.mp4").read_bytes()
