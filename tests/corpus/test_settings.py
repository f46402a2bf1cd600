"""What a corpus depends on, and how a dataset made of it is labeled."""

import pytest

from videolights_hf.corpus import CorpusSettings
from videolights_hf.data import get_dataset_spec


@pytest.mark.parametrize(
    ("form", "labels", "rule"),
    [
        ("release", "window", "window"),
        ("paper", "window", "window"),
        ("release", "scores", "scores"),
        ("paper", "scores", "similarities"),
    ],
)
def test_labels_follow_the_moment_or_the_scores_of_the_form(form, labels, rule):
    assert get_dataset_spec(CorpusSettings(form, labels=labels).dataset).label_rule == rule


def test_labels_are_those_of_the_release_by_default():
    assert CorpusSettings("paper").labels == "window"


def test_an_unknown_kind_of_labels_is_refused():
    with pytest.raises(ValueError, match=r"Unknown kind of labels 'score'\. Did you mean 'scores'"):
        CorpusSettings(labels="score")
