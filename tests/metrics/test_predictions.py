import dataclasses

import numpy as np
import pytest

from videolights_hf.common.time_axis import QueryWindow
from videolights_hf.inference.moments import MomentSelection
from videolights_hf.metrics import SplitOutputs, submission_rows


class TestSubmissionRows:
    annotation = {"qid": 7, "query": "a cat", "vid": "v", "duration": 10.0, "relevant_windows": [[0, 2]]}

    outputs = SplitOutputs(
        scores=np.array([[0.2, 0.9]], dtype=np.float32),
        spans=np.array([[[0.5, 0.2], [0.9, 0.4]]], dtype=np.float32),
        saliency=np.array([[1.0, 0.1, 2.0, 0.5, -100.0]], dtype=np.float32),
        num_clips=np.array([4]),
    )

    def rows(self, **settings):
        return submission_rows([self.annotation], self.outputs, 2.0, MomentSelection(**{"bounds": None, **settings}))

    def test_moments_are_seconds_of_the_annotated_duration_best_first(self):
        (row,) = self.rows()
        assert row["pred_relevant_windows"] == [[8.0, 12.0, 0.9], [4.0, 6.0, 0.2]]
        assert list(row) == ["qid", "query", "vid", "pred_relevant_windows", "pred_saliency_scores"]

    def test_unrounded_moments_keep_four_decimals(self):
        (row,) = self.rows(round_to_clips=False)
        assert row["pred_relevant_windows"][0] == [7.0, 11.0, 0.9]

    def test_bounds_clamp(self):
        (row,) = self.rows(bounds=(0, 10))
        assert row["pred_relevant_windows"][0] == [8.0, 10.0, 0.9]

    def test_saliency_is_float16_and_ends_with_the_video(self):
        (row,) = self.rows()
        assert row["pred_saliency_scores"] == [1.0, float(np.float16(0.1)), 2.0, 0.5]

    def test_highlight_models_predict_no_moments_and_float32_saliency(self):
        (row,) = submission_rows([self.annotation], self.outputs, 2.0, None)
        assert "pred_relevant_windows" not in row
        assert row["pred_saliency_scores"] == [1.0, float(np.float32(0.1)), 2.0, 0.5]

    def test_moments_are_seconds_of_the_clips_where_these_cover_less_than_the_video(self):
        annotation = {**self.annotation, "duration": 40.0}
        (row,) = submission_rows([annotation], self.outputs, 2.0, MomentSelection(bounds=None))
        assert row["pred_relevant_windows"] == [[6.0, 8.0, 0.9], [4.0, 4.0, 0.2]]

    def test_number_of_predictions_must_fit(self):
        outputs = SplitOutputs(np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros((0, 4)), np.zeros(0))
        with pytest.raises(ValueError, match="0 predictions for 1 queries"):
            submission_rows([self.annotation], outputs, 2.0, None)

    def test_values_of_padding_may_be_anything(self):
        saliency = np.array([[1.0, 0.1, 2.0, 0.5, np.nan]], dtype=np.float32)
        assert dataclasses.replace(self.outputs, saliency=saliency).are_finite()
        assert not dataclasses.replace(self.outputs, saliency=saliency, num_clips=np.array([5])).are_finite()
        assert not dataclasses.replace(self.outputs, scores=np.array([[np.inf, 0]])).are_finite()


def test_highlight_data_keeps_float32_saliency_whatever_the_model():
    row = {"qid": 1, "query": "q", "vid": "v", "duration": 8, "domain": "dog", "label": [[0], [1], [0], [1]]}
    outputs = TestSubmissionRows.outputs
    (scored,) = submission_rows([row], outputs, 2.0, MomentSelection(bounds=None))
    assert scored["pred_saliency_scores"] == [1.0, float(np.float32(0.1)), 2.0, 0.5]


def test_windows_must_be_those_of_the_queries():
    row = {"qid": 1, "query": "q", "vid": "v", "duration": 20.0}
    with pytest.raises(ValueError, match="1 predictions for 1 queries"):
        submission_rows([row], TestSubmissionRows.outputs, 2.0, None, [QueryWindow(1, 0, 4)])
