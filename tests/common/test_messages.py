from videolights_hf.common.messages import did_you_mean, unknown_name


def test_the_nearest_name_is_offered():
    assert unknown_name("dataset", "qvhighlight", ["tvsum", "qvhighlights"]) == (
        "Unknown dataset 'qvhighlight'. Did you mean 'qvhighlights'? Known: qvhighlights, tvsum."
    )
    assert did_you_mean("zzz", ["tvsum"]) == ""
