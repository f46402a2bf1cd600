from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from tests.support.videos import gray_frames, write_video
from videolights_hf.visualization.moments import plot_moments

DURATION = 40.0


def prediction(*moments, query="a dog runs", num_clips=20, duration=DURATION):
    return {
        "query": query,
        "moments": [{"start": start, "end": end, "score": score} for start, end, score in moments],
        "saliency": np.sin(np.arange(num_clips)).tolist(),
        "clip_length": 2.0,
        "duration": duration,
    }


def bars(axes):
    """(start, end) of the bars of a row of bars, left to right."""
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for container in axes.containers for bar in container]
    return sorted((round(start, 3), round(end, 3)) for start, end in spans)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def figure_texts(figure):
    return "\n".join(text.get_text() for text in figure.texts)


def overlaps(figure):
    """Pairs of texts and bars whose boxes cover each other in the drawn picture."""
    figure.canvas.draw()
    boxes = []
    for axes in figure.axes:
        boxes += [(text.get_text(), text.get_window_extent()) for text in axes.texts if text.get_text()]
        boxes += [
            (label.get_text(), label.get_window_extent())
            for label in (*axes.get_yticklabels(), *axes.get_xticklabels())
            if label.get_text()
        ]
    boxes += [(text.get_text(), text.get_window_extent()) for text in figure.texts]
    return [
        (name, other)
        for index, (name, box) in enumerate(boxes)
        for other, other_box in boxes[index + 1 :]
        if box.overlaps(other_box)
    ]


def test_moments_are_bars_with_their_scores():
    figure = plot_moments(prediction((4, 12, 0.91), (20, 30, 0.42)))
    _, lanes = figure.axes
    assert bars(lanes) == [(4, 12), (20, 30)]
    assert {"1   00:04–00:12   0.91", "2   00:20–00:30   0.42", "moments"} <= set(texts(lanes))


def test_saliency_is_drawn_at_the_middles_of_the_clips():
    shown = prediction((4, 12, 0.9))
    line = plot_moments(shown).axes[0].lines[0]
    assert len(shown["saliency"]) == 20
    assert line.get_xdata()[1:-1].tolist() == [1.0 + 2 * clip for clip in range(20)]
    assert line.get_ydata()[1:-1].tolist() == shown["saliency"]
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (0, DURATION)


def test_ground_truth_has_a_row_of_its_own():
    lanes = plot_moments(prediction((4, 12, 0.9)), ground_truth=[(5, 11), (30, 36)]).axes[1]
    assert bars(lanes) == [(4, 12), (5, 11), (30, 36)]
    assert "truth" in texts(lanes)


def test_only_the_best_moments_are_drawn():
    shown = prediction((0, 2, 0.1), (4, 6, 0.9), (8, 10, 0.5), (12, 14, 0.4))
    assert bars(plot_moments(shown, max_moments=2).axes[1]) == [(4, 6), (8, 10)]


def test_all_moments_are_drawn_by_default():
    shown = prediction(*((2 * index, 2 * index + 2, 0.9) for index in range(20)))
    assert len(bars(plot_moments(shown).axes[1])) == 20


def test_a_short_moment_of_a_long_video_can_be_seen():
    figure = plot_moments(
        prediction((0, 1, 0.9), (3000, 3010, 0.8), (7199, 7200, 0.7), num_clips=3600, duration=7200.0)
    )
    figure.canvas.draw()
    for container in figure.axes[1].containers:
        for bar in container:
            box = bar.get_window_extent()
            assert box.width > 5
            assert box.x0 >= figure.axes[1].bbox.x0 - 1
            assert box.x1 <= figure.axes[1].bbox.x1 + 1


def test_low_scores_are_said():
    assert "probably does not show this" in figure_texts(plot_moments(prediction((0, 2, 0.01), (4, 6, 0.1))))
    assert "probably does not show this" not in figure_texts(plot_moments(prediction((0, 2, 0.01), (4, 6, 0.5))))


def test_all_curves_have_one_scale_that_shows_noise_as_noise():
    loud, quiet = prediction(), prediction(query="a cat")
    loud["saliency"] = [-8.0] * 10 + [-5.0] * 10
    quiet["saliency"] = [-8.0, -7.99] * 10
    figure = plot_moments([loud, quiet])
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim()
    low, high = plot_moments(quiet).axes[0].get_ylim()
    assert high - low > 1
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["low", "high"]


def test_highlights_are_marked_with_their_times():
    shown = prediction((4, 12, 0.9))
    shown["saliency"] = [0.0] * 5 + [2.0] + [0.0] * 14
    curve = plot_moments(shown).axes[0]
    assert "00:10" in texts(curve)
    assert [line.get_xdata()[0] for line in curve.lines if line.get_marker() == "*"] == [11.0]


def test_each_sentence_has_a_panel():
    figure = plot_moments([prediction((0, 2, 0.9)), prediction((4, 6, 0.9), query="a cat sleeps")])
    assert [text.get_text() for text in figure.texts] == ["a dog runs", "a cat sleeps"]
    assert [bars(axes) for axes in figure.axes[1::2]] == [[(0, 2)], [(4, 6)]]


def test_nothing_found_is_said_and_the_highlights_are_shown():
    video = gray_frames(range(10, 250, 6))
    shown = prediction()
    shown["saliency"] = [0.0] * 5 + [2.0] + [0.0] * 14
    figure = plot_moments(shown, video, fps=1)
    assert "none found; the highlights are marked above" in texts(figure.axes[1])
    assert texts(figure.axes[2]) == ["★ 00:10"]
    shown["saliency"] = [0.0] * 20
    assert "none found" in texts(plot_moments(shown).axes[1])


def test_no_text_covers_another():
    figure = plot_moments(
        [
            prediction((0, 8, 0.97), (8.5, 9, 0.5), (39, 40, 0.2)),
            prediction((6, 20, 0.9), (7, 19, 0.8), (8, 8.4, 0.7), query="a very long sentence " * 12),
            prediction((0, 40, 0.3)),
        ],
        ground_truth=[[(0, 7)], [], [(3, 4), (5, 6)]],
    )
    assert overlaps(figure) == []


def test_all_texts_lie_inside_the_picture():
    figure = plot_moments(prediction((39.5, 40, 0.9), (0, 0.4, 0.8), query="word " * 60))
    figure.canvas.draw()
    shown = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    for text in shown:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_moments_have_thumbnails_with_their_numbers(tmp_path):
    video = write_video(tmp_path / "video.mp4", gray_frames(range(10, 250, 6)), 1)
    figure = plot_moments(prediction((30, 32, 0.9), (4, 6, 0.8)), video)
    first, second = figure.axes[2:4]
    assert [texts(axes) for axes in (first, second)] == [["1"], ["2"]]
    assert first.images[0].get_array().mean() == pytest.approx(10 + 6 * 30, abs=4)
    assert second.images[0].get_array().mean() == pytest.approx(10 + 6 * 4, abs=4)


@pytest.mark.parametrize(
    "query", ["it costs $5, or $6", "a \ud800 surrogate", "日本語の犬 \N{DOG FACE}", "$", "{a} % _ ^"]
)
def test_any_sentence_can_be_drawn(query, tmp_path, recwarn):
    figure = plot_moments(prediction((4, 12, 0.9), query=query))
    for ending in ("png", "svg", "pdf"):
        figure.savefig(tmp_path / f"picture.{ending}")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_dollars_are_drawn_as_they_stand():
    (title, *_) = plot_moments(prediction((4, 12, 0.9), query="costs $5 and $6")).texts
    assert title.get_text() == "costs $5 and $6"
    assert not title.get_parse_math()


def test_characters_without_a_font_are_said():
    assert "no installed font" in figure_texts(plot_moments(prediction((4, 12, 0.9), query="a \U00102345")))


def test_thumbnails_show_the_video_from_left_to_right(tmp_path):
    video = write_video(tmp_path / "video.mp4", gray_frames(range(10, 250, 6)), 1)
    strip = plot_moments(prediction((4, 12, 0.9)), video).axes[-1]
    levels = [image.get_array().mean() for image in strip.images]
    assert len(levels) == 10
    assert np.all(np.diff(levels) > 15)
    starts = [image.get_extent()[0] for image in strip.images]
    assert starts == pytest.approx(np.arange(10) * DURATION / 10)


def test_thumbnails_of_frames_in_memory():
    frames = gray_frames(range(10, 250, 6))
    strip = plot_moments(prediction((4, 12, 0.9)), frames, fps=1).axes[-1]
    assert len(strip.images) == 10


def test_the_picture_can_be_written(tmp_path):
    path = tmp_path / "picture.png"
    plot_moments(prediction((4, 12, 0.9))).savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("num_clips", [1, 2])
def test_a_one_second_video_is_drawn(num_clips):
    shown = {**prediction((0, 0.5, 0.9), num_clips=num_clips, duration=1.0), "clip_length": 1.0 / num_clips}
    figure = plot_moments(shown)
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert labels[0] == "00:00.0"
    assert labels[1] == "00:00.1"


@pytest.mark.parametrize("duration", [7.3, 150, 3599, 5000, 200_000])
def test_times_on_the_axis_are_few_and_apart(duration):
    figure = plot_moments(prediction((0, 1, 0.9), duration=float(duration)))
    figure.canvas.draw()
    labels = [label for label in figure.axes[-1].get_xticklabels() if label.get_text()]
    assert 3 <= len(labels) <= 14
    assert len({label.get_text() for label in labels}) == len(labels)
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_no_predictions_are_refused():
    with pytest.raises(ValueError, match="empty"):
        plot_moments([])


def test_ground_truth_must_match_the_predictions():
    with pytest.raises(ValueError, match="2 predictions, but the ground truth of 1"):
        plot_moments([prediction(), prediction()], ground_truth=[[(0, 1)]])


def test_predictions_of_different_videos_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        plot_moments([prediction(), prediction(duration=10.0)])


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"videolights-hf\[viz\]"):
        plot_moments(prediction())
