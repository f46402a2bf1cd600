import pytest

from videolights_hf.metrics import SELECTION_WEIGHTS, selection_score


class TestSelectionScore:
    def test_qvhighlights_weights_are_normalized(self):
        brief = dict.fromkeys(SELECTION_WEIGHTS["qvhighlights"], 10.0)
        assert selection_score(brief, "qvhighlights") == pytest.approx(10)
        brief["MR-full-mAP@0.75"] = 20.0
        total = 0.3 + 0.5 + 0.7 + 0.5 + 0.75 + 4 * 0.25
        assert selection_score(brief, "qvhighlights") == pytest.approx(10 + 10 * 0.75 / total)

    def test_other_moment_data_takes_recall_and_mean_iou(self):
        brief = {"MR-full-R1@0.3": 1.0, "MR-full-R1@0.5": 2.0, "MR-full-R1@0.7": 3.0, "MR-full-mIoU": 4.0}
        assert selection_score(brief, "moment_retrieval") == pytest.approx((0.3 + 1 + 2.1 + 2) / 2)

    def test_highlight_data_takes_mean_average_precision(self):
        assert selection_score({"HL-mAP": 0.5}, "tvsum") == 0.5

    def test_unknown_data_and_missing_metrics_are_refused(self):
        with pytest.raises(ValueError, match="Unknown dataset 'kinetics'"):
            selection_score({}, "kinetics")
        with pytest.raises(ValueError, match=r"lack MR-full-R1@0\.3"):
            selection_score({}, "moment_retrieval")
