import json

import numpy as np
import pytest
import torch

from tests.support.corpora import NumberBackbone
from tests.support.tiny_backbones import make_tiny_blip2, make_tiny_clip
from videolights_hf.extraction import ExtractionSettings, SettingsMismatchError, extract_text_features
from videolights_hf.extraction import text as text_module

QUERIES = {3: "A dog runs.", "v_0_10": "Zürich, 日本!", 10: "x", 7: "a man in a red coat opens the door " * 2}


def extract(queries, output, *backbones, **settings):
    return extract_text_features(queries, output, backbones, ExtractionSettings(progress=False, **settings))


def arrays_in(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_every_sentence_has_a_file_with_the_states_of_its_tokens(tmp_path):
    clip, blip2 = make_tiny_clip(), make_tiny_blip2()
    summary = extract(QUERIES, tmp_path, clip, blip2, NumberBackbone(), dtype="float32")
    assert (summary.done, summary.skipped, summary.failed) == (4, 0, ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blip2_text_features", "clip_text_features"]
    for backbone in (clip, blip2):
        for qid, query in QUERIES.items():
            arrays = arrays_in(tmp_path / f"{backbone.name}_text_features" / f"qid{qid}.npz")
            (expected,) = backbone.encode_text([query])
            np.testing.assert_allclose(arrays["last_hidden_state"], expected, atol=1e-5)
            assert ("pooler_output" in arrays) == (backbone is clip)


def test_the_vector_of_a_sentence_is_clips_projected_embedding(tmp_path):
    clip = make_tiny_clip()
    extract(QUERIES, tmp_path, clip, dtype="float32")
    for qid, query in QUERIES.items():
        tokens = clip.tokenizer([query], return_tensors="pt")
        with torch.no_grad():
            expected = clip.model.get_text_features(**tokens).pooler_output[0].numpy()
        pooled = arrays_in(tmp_path / "clip_text_features" / f"qid{qid}.npz")["pooler_output"]
        np.testing.assert_allclose(pooled, expected, atol=1e-5)


def test_half_precision_by_default_and_settings_beside(tmp_path):
    extract(QUERIES, tmp_path, make_tiny_clip(), checkpoints={"clip": "some/where"})
    arrays = arrays_in(tmp_path / "clip_text_features" / "qid3.npz")
    assert {array.dtype.name for array in arrays.values()} == {"float16"}
    settings = json.loads((tmp_path / "clip_text_features" / "extraction.json").read_text())
    assert (settings["checkpoint"], settings["width"], settings["dtype"]) == ("some/where", 32, "float16")
    with pytest.raises(SettingsMismatchError, match="dtype is 'float16' there and 'float32' now"):
        extract(QUERIES, tmp_path, make_tiny_clip(), dtype="float32")


def test_what_is_missing_is_done_again_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(text_module, "SENTENCES_PER_GROUP", 3)
    clip = make_tiny_clip()
    clip.batch_size = 2
    queries = {index: "word " * (index % 5 + 1) for index in range(11)}
    extract(queries, tmp_path, clip, dtype="float32")
    folder = tmp_path / "clip_text_features"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for qid in (1, 7, 10):
        (folder / f"qid{qid}.npz").unlink()
    summary = extract(queries, tmp_path, clip, dtype="float32")
    assert (summary.done, summary.skipped) == (3, 8)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_qid_stands_for_one_sentence(tmp_path):
    extract({1: "a dog"}, tmp_path, make_tiny_clip())
    assert extract({2: "a cat", "1": "a dog"}, tmp_path, make_tiny_clip()).skipped == 1
    with pytest.raises(ValueError, match=r"query '2' as 'a cat'; now it is 'a horse'"):
        extract({2: "a horse"}, tmp_path, make_tiny_clip())


def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path, monkeypatch):
    clip = make_tiny_clip()
    clip.batch_size = 32
    encode = clip.encode_text

    def tight(sentences):
        if clip.batch_size > 16:
            raise torch.OutOfMemoryError("too many sentences")
        return encode(sentences)

    monkeypatch.setattr(clip, "encode_text", tight)
    with pytest.warns(UserWarning, match="continues with batches of 16"):
        assert extract(QUERIES, tmp_path, clip).done == 4


@pytest.mark.parametrize(
    ("queries", "message"),
    [({}, "no sentences"), ({1: "  "}, "query '1' is '  '"), ({"../1": "a dog"}, "cannot be a file name")],
)
def test_queries_that_are_none_are_refused(tmp_path, queries, message):
    with pytest.raises(ValueError, match=message):
        extract(queries, tmp_path, make_tiny_clip())


def test_features_that_the_files_cannot_hold_are_named(tmp_path, monkeypatch):
    clip = make_tiny_clip()
    encode = clip.encode_text
    monkeypatch.setattr(clip, "encode_text", lambda sentences: [states * 1e8 for states in encode(sentences)])
    with pytest.raises(ValueError, match="clip, query '10': the features hold values beyond float16"):
        extract(QUERIES, tmp_path, clip)


def test_a_text_encoder_is_needed(tmp_path):
    with pytest.raises(ValueError, match="None of numbers has a text encoder"):
        extract(QUERIES, tmp_path, NumberBackbone())
