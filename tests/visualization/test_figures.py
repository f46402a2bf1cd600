from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.support.runs import annotation_rows, log_history, prediction_rows
from tests.support.videos import gray_frames, write_video
from videolights_hf.metrics import Bootstrap, break_down, compare_models
from videolights_hf.video.reader import VideoSource
from videolights_hf.visualization.answers import QueryAnswers
from videolights_hf.visualization.breakdowns import plot_breakdown
from videolights_hf.visualization.comparison import plot_comparison
from videolights_hf.visualization.errors import choose_queries, first_scores
from videolights_hf.visualization.predictions import plot_predictions, plot_sections
from videolights_hf.visualization.relevance import StageRelevance, agreement, plot_relevance
from videolights_hf.visualization.saving import check_picture_path, save_figure
from videolights_hf.visualization.training import plot_training
from videolights_hf.visualization.truth import true_saliency

ROWS = annotation_rows()
FEW = Bootstrap(num_resamples=200)


def answers(row=ROWS[1], models=("A", "B"), **options):
    return QueryAnswers.of_row(row, {name: prediction_rows([row])[0] for name in models}, 2.0, **options)


def texts(figure):
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts] + [axes.get_title(), axes.get_xlabel()]
        found += [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    return [text for text in found if text]


class TestTruth:
    def test_saliency_is_the_mean_of_the_annotators_on_rated_clips(self):
        row = {"duration": 8.0, "relevant_clip_ids": [1], "saliency_scores": [[4, 3, 2]], "relevant_windows": [[2, 4]]}
        assert true_saliency(row, 2.0).tolist() == [0, 3, 0, 0]

    def test_a_wrong_clip_length_is_found_and_not_drawn(self):
        with pytest.raises(ValueError, match="clip 19 lies outside the video, which has 10 clips of 4 s"):
            true_saliency({**ROWS[0], "relevant_clip_ids": [19], "saliency_scores": [[4]]}, 4.0)

    @pytest.mark.parametrize("duration", [1e9, 0, "12", None])
    def test_a_duration_that_is_no_videos_is_named_before_memory_is_taken(self, duration):
        with pytest.raises(ValueError, match=r"query 7: (a duration of|duration must be)"):
            true_saliency({**ROWS[0], "qid": 7, "duration": duration}, 2.0)

    def test_without_ratings_clips_in_a_moment_count(self):
        assert true_saliency({"duration": 5.0, "relevant_windows": [[1, 3]]}, 1.0).tolist() == [0, 1, 1, 0, 0]

    def test_labels_of_domain_data_are_averaged(self):
        assert true_saliency({"label": [[1, 3], [5, 5]]}, 2.0).tolist() == [2, 5]

    def test_without_labels_it_is_not_known(self):
        assert true_saliency({"duration": 5.0}, 1.0) is None


class TestRelevance:
    MAPS = [StageRelevance(stage, np.random.default_rng(0).random((3, 8))) for stage in ("projection", "fusion")]

    def test_stages_are_rows_and_models_columns_with_the_saliency_drawn_in(self):
        figure = plot_relevance(
            {"A": self.MAPS, "B": self.MAPS[:1]},
            16.0,
            query="a $dog$",
            words=["a", "dog", "."],
            saliency=np.arange(8.0),
        )
        shown = [axes for axes in figure.axes if axes.images and axes.get_xlim() == (0, 16)]
        assert [axes.images[0].get_array().shape for axes in shown] == [(3, 8)] * 3
        assert all(len(axes.patches) == 1 for axes in shown)
        steps = shown[0].patches[0].get_data()
        assert steps.edges.tolist() == [2.0 * clip for clip in range(9)]
        assert np.ptp(np.diff(steps.values)) == pytest.approx(0, abs=1e-12)
        assert {"a $dog$", "A", "B", "projection", "fusion", "no such stage", "true saliency", "dog"} <= set(
            texts(figure)
        )

    def test_the_range_and_the_correlation_stand_above_a_map(self):
        rising = StageRelevance("projection", np.tile(np.linspace(-0.5, 0.25, 8), (3, 1)))
        shown = texts(plot_relevance({"A": [rising]}, 16.0, saliency=np.arange(8.0)))
        assert "−0.50 to 0.25,  r 1.00" in shown

    def test_agreement_is_not_known_of_a_constant(self):
        assert np.isnan(agreement(np.ones((3, 4)), [0, 1, 2, 3]))
        assert agreement(np.tile([0.0, 1, 2, 3], (2, 1)), [3, 2, 1, 0]) == pytest.approx(-1)

    def test_names_for_another_number_of_words_are_refused(self):
        with pytest.raises(ValueError, match="3 words, but 2 are named"):
            plot_relevance({"A": self.MAPS}, 16.0, words=["a", "b"])
        with pytest.raises(ValueError, match="no maps"):
            plot_relevance({}, 16.0)


class TestPredictions:
    def test_truth_and_each_model_have_a_row_of_bars_and_a_curve(self):
        figure = plot_predictions(answers())
        lanes, curves = figure.axes
        spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bars in lanes.containers for bar in bars]
        # As many moments of each model as are true: one.
        assert spans == [tuple(ROWS[1]["relevant_windows"][0])] * 3
        assert len(curves.lines) == 2
        truth = curves.patches[0].get_data()
        assert truth.values.max() == 1
        assert (truth.values > 0).tolist() == np.isin(np.arange(20), ROWS[1]["relevant_clip_ids"]).tolist()
        assert {"truth", "A", "B", "saliency", "query 1", "0.89"} <= set(texts(figure))

    def test_a_page_has_a_panel_for_each_query_with_frames_above(self, tmp_path):
        write_video(tmp_path / "v.mp4", gray_frames(range(0, 200, 5)), fps=1)
        figure = plot_predictions([answers(video=str(tmp_path / "v.mp4")), answers(ROWS[2])])
        assert len(figure.axes) == 3 + 2
        strip = figure.axes[0]
        levels = [image.get_array().mean() for image in strip.images]
        assert levels == sorted(levels)
        assert strip.images[0].get_extent()[0] == 0
        assert strip.images[-1].get_extent()[1] == 40

    def test_frames_of_an_excerpt_are_those_of_the_excerpt(self, tmp_path):
        write_video(tmp_path / "v.mp4", gray_frames([10] * 40 + [200] * 40), fps=1)
        figure = plot_predictions(answers(video=VideoSource(tmp_path / "v.mp4", start=40, end=80)))
        assert min(image.get_array().mean() for image in figure.axes[0].images) > 190

    def test_a_curve_has_the_clip_length_of_its_model(self):
        found = prediction_rows(ROWS[:1])[0]
        short = {**found, "clip_length": 4.0, "pred_saliency_scores": [0.0, 1.0]}
        curves = plot_predictions(QueryAnswers.of_row(ROWS[0], {"A": found, "B": short}, 2.0)).axes[1]
        assert [line.get_xdata()[:2].tolist() for line in curves.lines] == [[1, 3], [2, 6]]

    def test_moments_are_limited(self):
        lanes = plot_predictions(answers(), max_moments=2).axes[0]
        assert sum(len(bars) for bars in lanes.containers) == 1 + 2 * 2

    def test_data_without_moments_shows_curves_alone(self):
        row = {"qid": 1, "query": "a dog", "vid": "v", "label": [[1, 2], [5, 5]], "domain": "BK"}
        found = QueryAnswers.of_row(row, {"A": {"pred_saliency_scores": [0.1, 0.9]}}, 2.0)
        figure = plot_predictions(found)
        assert len(figure.axes) == 1
        assert "A" in texts(figure)

    def test_a_model_without_an_answer_has_an_empty_row(self):
        found = QueryAnswers.of_row(ROWS[0], {"A": {}, "B": prediction_rows(ROWS[:1])[0]}, 2.0)
        assert {"A", "B"} <= set(texts(plot_predictions(found)))

    def test_sections_have_headings(self):
        assert {"Best", "Worst"} <= set(texts(plot_sections({"Best": [answers()], "Worst": [answers()], "None": []})))

    def test_nothing_to_draw_is_refused(self):
        with pytest.raises(ValueError, match="no queries"):
            plot_predictions([])


class TestErrors:
    def test_queries_are_the_best_the_worst_and_the_most_confident_wrong(self):
        quality = np.array([100.0, 0.0, 60.0, 0.0, 40.0, 100.0])
        confidence = np.array([0.5, 0.1, 0.9, 0.8, 0.7, 0.6])
        chosen = choose_queries([quality], confidence, quality >= 50, count=2)
        assert chosen == {"best": [5, 0], "worst": [1, 3], "most confident wrong": [4]}

    def test_ties_are_broken_by_the_next_score(self):
        assert choose_queries([np.zeros(3), np.array([1.0, 3.0, 2.0])], count=1) == {"best": [1], "worst": [0]}

    def test_a_query_is_shown_once(self):
        assert choose_queries([np.array([1.0])], np.array([0.5]), np.array([False]), count=3) == {
            "best": [0],
            "worst": [],
            "most confident wrong": [],
        }

    def test_confidence_is_the_score_of_the_best_moment(self):
        rows = [{"pred_relevant_windows": [[0, 1, 0.2], [1, 2, 0.7]]}, None, {"pred_saliency_scores": [1]}]
        assert first_scores(rows).tolist() == [0.7, 0, 0]


class TestTraining:
    def test_every_term_and_metric_has_a_panel_with_its_curves(self):
        figure = plot_training({"A": log_history()}, best_epochs={"A": 2.0})
        panels = {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}
        assert list(panels) == [
            "loss", "loss_saliency", "loss_span", "HL-min-VeryGood-Hit1", "MR-full-mAP", "grad_norm", "learning_rate",
        ]  # fmt: skip
        curves = [line.get_ydata() for line in panels["loss_span"].lines[:3]]
        np.testing.assert_allclose(curves, [[2, 1, 2 / 3], [1, 0.5, 1 / 3], [1.1, 0.6, 1 / 3 + 0.1]])
        assert panels["MR-full-mAP"].lines[0].get_ydata().tolist() == [10, 20, 30]
        assert panels["MR-full-mAP"].lines[-1].get_xdata() == [2.0, 2.0]

    def test_several_runs_share_the_panels(self):
        figure = plot_training({"A": log_history(), "B": log_history(5)}, width=3.5)
        assert {"A", "B", "evaluation"} <= set(texts(figure))
        assert len(next(axes for axes in figure.axes if axes.get_title() == "MR-full-mAP").lines) == 2

    def test_a_single_point_is_a_marker(self):
        panels = {axes.get_title(): axes for axes in plot_training({"A": log_history(1)}).axes}
        assert [panels[name].lines[-1].get_marker() for name in ("MR-full-mAP", "grad_norm")] == ["o", "o"]

    def test_a_run_that_logged_nothing_is_refused(self):
        with pytest.raises(ValueError, match="logged nothing"):
            plot_training({"A": []})

    def test_what_is_no_number_is_left_out(self):
        odd = [{"epoch": None, "loss": 1.0}, {"epoch": 1.0, "loss": "x", "loss_span": 0.5}, {"loss": 3.0}]
        assert [axes.get_title() for axes in plot_training({"A": odd}).axes if axes.get_visible()] == ["loss_span"]


def test_breakdown_has_a_bar_for_each_model_and_range():
    models = {
        name: break_down(prediction_rows(ROWS, shift), ROWS, bootstrap=FEW) for name, shift in (("A", 0), ("B", 4))
    }
    figure = plot_breakdown(models)
    length = figure.axes[0]
    assert length.get_title() == "mAP (%) by length of the moment"
    heights = [bar.get_height() for bars in length.containers if hasattr(bars, "patches") for bar in bars]
    assert heights == [score.value for name in "AB" for score in models[name]["length"]["mAP"]]
    assert [label.get_text() for label in length.get_xticklabels()] == ["short\n4", "middle\n4", "long\n4"]
    with pytest.raises(ValueError, match="no models"):
        plot_breakdown({})


def test_comparison_has_a_point_and_an_interval_for_each_metric():
    models = {"base": [prediction_rows(ROWS, 4.0)], "new": [prediction_rows(ROWS)]}
    comparison = compare_models(models, ROWS, bootstrap=FEW)
    figure = plot_comparison(comparison, metrics=["MR-full-mAP", "MR-full-R1@0.5"])
    interval, point = figure.axes[0].lines[:2]
    expected = next(metric for metric in comparison.metrics if metric.name == "MR-full-R1@0.5").differences[0]
    assert list(interval.get_xdata()) == [expected.low, expected.high]
    assert list(point.get_xdata()) == [expected.value]
    assert point.get_markerfacecolor() != "white"
    assert "new less base (percent points)" in texts(figure)
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_comparison(comparison, metrics=["loss"])


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_equal_figures_make_equal_files(tmp_path, ending):
    files = [tmp_path / name / f"figure{ending}" for name in ("one", "two")]
    for path in files:
        check_picture_path(path)
        save_figure(plot_predictions(answers()), path, 60)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_ending_that_is_no_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"choose one of \.jpg, \.pdf"):
        check_picture_path(tmp_path / "figure.txt")


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (lambda: plot_predictions(answers()), lambda: plot_training({"A": log_history()})):
        with pytest.raises(ImportError, match=r"videolights-hf\[viz\]"):
            draw()


def test_names_of_the_room_are_imported_on_first_use():
    import videolights_hf.visualization as room

    assert room.plot_training is plot_training
    assert set(room.__all__) <= set(dir(room))
