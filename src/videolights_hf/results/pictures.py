"""Results as pictures: the plot of saliency and moments, and the best moment as a moving one."""

from __future__ import annotations

from pathlib import Path

from ..common.files import written_aside
from .answers import VideoAnswers

GIF_FRAMES_PER_SECOND = 8
GIF_SECONDS = 10.0
GIF_PIXELS = 240


def write_plot(answers: VideoAnswers, path: Path) -> None:
    """Draw saliency and moments over thumbnails, in the format of the file's ending."""
    from ..visualization.moments import plot_moments
    from ..visualization.saving import save_figure

    save_figure(plot_moments(list(answers.predictions), answers.file), path)


def write_gif(answers: VideoAnswers, path: Path) -> bool:
    """Write the moment of the highest score as a moving picture, its first ten seconds if it is longer.

    Returns:
        Whether there is a moment.
    """
    from PIL import Image

    from ..visualization.thumbnails import read_thumbnails

    moments = [moment for _, found in answers.shown() for moment in found]
    if not moments:
        return False
    best = max(moments, key=lambda moment: moment["score"])
    start, length = best["start"], min(best["end"] - best["start"], GIF_SECONDS)
    # A frame stands for the time up to the next, and the last one must lie inside.
    count = max(1, int(length * GIF_FRAMES_PER_SECOND))
    times = [start + (index + 0.5) / GIF_FRAMES_PER_SECOND for index in range(count)]
    frames = [Image.fromarray(frame) for frame in read_thumbnails(answers.file, None, times, GIF_PIXELS)]
    with written_aside(path) as partial:
        frames[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=1000 // GIF_FRAMES_PER_SECOND,
            loop=0,
        )
    return True
