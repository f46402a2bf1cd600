"""What makes two runs one, and what does not."""

from __future__ import annotations

import pytest

from tests.support.training import brief, make_tables
from videolights_hf.reproduction.fingerprint import describe_recipe, fingerprint_data, hash_of
from videolights_hf.training import load_recipe


class TestData:
    def test_same_content_has_the_same_fingerprint(self, tmp_path):
        tables = make_tables()
        tables.save_to_disk(tmp_path)
        loaded = type(tables).load_from_disk(str(tmp_path))
        assert fingerprint_data(tables, "train", "val") == fingerprint_data(loaded, "train", "val")

    def test_each_split_counts(self):
        tables = make_tables()
        assert fingerprint_data(tables, "train") != fingerprint_data(tables, "train", "val")

    def test_another_split_beside_it_changes_nothing(self):
        tables = make_tables(sizes={"train": 5, "val": 3, "test": 4})
        alone = tables.copy()
        del alone["test"]
        kept = set(alone["train"]["vid"]) | set(alone["val"]["vid"])
        alone["videos"] = alone["videos"].filter(lambda row: row["vid"] in kept)
        assert fingerprint_data(tables, "train", "val") == fingerprint_data(alone, "train", "val")

    @pytest.mark.parametrize("column", ["query", "saliency_scores", "text_clip"])
    def test_changed_query_has_another(self, column):
        tables = make_tables()
        before = fingerprint_data(tables, "train")
        rows = list(tables["train"])
        rows[3] = {**rows[3], column: rows[4][column]}
        tables["train"] = tables["train"].from_list(rows, features=tables["train"].features)
        assert fingerprint_data(tables, "train") != before

    def test_changed_features_have_another_with_and_without_checksums(self):
        tables = make_tables()
        for checksum in (True, False):
            seen = set()
            for change in (b"", b"\x01\x02"):
                rows = list(tables["videos"])
                cell = dict(rows[0]["video_clip"])
                cell["data"] = change + cell["data"][len(change) :]
                # As a rebuilt dataset has it: another checksum, or none.
                cell["crc32"] = (1 + len(change)) if checksum else None
                rows[0] = {**rows[0], "video_clip": cell}
                changed = {**tables, "videos": tables["videos"].from_list(rows, features=tables["videos"].features)}
                seen.add(fingerprint_data(changed, "train"))
            assert len(seen) == 2

    def test_split_that_is_missing_is_named(self):
        with pytest.raises(ValueError, match="no split 'test'; it has train, val"):
            fingerprint_data(make_tables(), "test")


class TestRecipes:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("qvhighlights/moment-detr", "ablations/table-vii/moment-detr"),
            ("qvhighlights/videolights-b", "ablations/full"),
        ],
    )
    def test_name_and_seed_do_not_count_and_settings_do(self, first, second):
        same = describe_recipe(load_recipe(first, ["num_train_epochs=150"]))
        assert same == describe_recipe(load_recipe(second, ["num_train_epochs=150", "seed=7", "use_cpu=true"]))
        assert same != describe_recipe(load_recipe(first, ["num_train_epochs=151"]))
        assert same != describe_recipe(load_recipe(first, ["num_train_epochs=150", "num_queries=5"]))

    def test_writing_a_default_out_does_not_count(self):
        assert describe_recipe(brief()) == describe_recipe(brief("qvhighlights/videolights", "lr_drop=400"))

    def test_whole_numbers_are_equal_to_floats(self):
        assert hash_of({"a": [1.0, 2]}) == hash_of({"a": [1, 2.0]}) != hash_of({"a": [1, 2.5]})
