import json

import numpy as np
import pytest
import torch

from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf.backbones.clip import ClipBackbone
from videolights_hf.video.reader import FrameRequirement

SENTENCES = ["A dog runs.", "Drei Bären, 日本, naïve — café!", "x"]


@pytest.fixture(scope="module")
def clip():
    return make_tiny_clip()


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def test_dims_and_frame_size_are_those_of_the_model(clip):
    assert (clip.video_dim, clip.text_dim, clip.frame_size, clip.frames_per_clip) == (24, 32, 64, 1)
    assert clip.requirement == FrameRequirement(64, 1)
    assert make_tiny_clip(image_size=32, projection_dim=8).requirement == FrameRequirement(32, 1)


def test_video_features_are_the_projected_image_embeddings(clip, frames):
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    with torch.no_grad():
        pooled = clip.model.vision_model((pixels - mean) / std).pooler_output
        expected = clip.model.visual_projection(pooled).numpy()
    features = clip.encode_frames(frames)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_text_features_are_normalized_states_of_every_valid_token(clip):
    features = clip.encode_text(SENTENCES)
    for sentence, tokens in zip(SENTENCES, features, strict=True):
        ids = clip.tokenizer(sentence, return_tensors="pt")["input_ids"]
        assert tokens.shape == (ids.shape[1], 32)
        assert ids[0, 0] == clip.tokenizer.bos_token_id
        assert ids[0, -1] == clip.tokenizer.eos_token_id
        with torch.no_grad():
            output = clip.model.text_model(ids, output_hidden_states=True)
            expected = clip.model.text_model.final_layer_norm(output.hidden_states[-1])[0].numpy()
        np.testing.assert_allclose(tokens, expected, atol=1e-5)


def test_features_do_not_depend_on_the_batch(clip, frames):
    small = ClipBackbone(clip.model, clip.tokenizer, clip.image_processor, batch_size=2)
    np.testing.assert_allclose(small.encode_frames(frames), clip.encode_frames(frames), atol=1e-6)
    for one, other in zip(small.encode_text(SENTENCES), clip.encode_text(SENTENCES), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_batch_size_may_be_set_at_any_time(frames):
    clip = make_tiny_clip()
    seen = []
    clip.model.vision_model.register_forward_hook(lambda _, args, output: seen.append(len(output.pooler_output)))
    clip.batch_size = 3
    clip.encode_frames(frames)
    assert seen == [3, 2]


def test_a_sentence_that_is_too_long_is_cut_with_a_warning(clip):
    with pytest.warns(UserWarning, match=r"has \d+ tokens, the text encoder takes 77"):
        (tokens,) = clip.encode_text(["word " * 100])
    assert tokens.shape == (77, 32)


def test_a_sentence_that_just_fits_is_not_warned_about(clip, recwarn):
    (tokens,) = clip.encode_text(["x " * 75])
    assert tokens.shape == (77, 32)
    assert not recwarn.list


def test_no_unicode_text_ends_the_sentence_early(clip):
    text = "".join(chr(code) for code in range(0xA1, 0x250))
    ids = clip.tokenizer(text)["input_ids"]
    assert ids.count(clip.tokenizer.eos_token_id) == 1


def test_encoding_tracks_no_gradients(clip, frames):
    clip.encode_frames(frames)
    clip.encode_text(SENTENCES)
    assert all(parameter.grad is None for parameter in clip.model.parameters())
    assert not clip.model.training


def test_saved_and_loaded_gives_the_same_features(clip, frames, tmp_path):
    clip.save_pretrained(tmp_path)
    loaded = ClipBackbone.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.encode_frames(frames), clip.encode_frames(frames))
    for one, other in zip(loaded.encode_text(SENTENCES), clip.encode_text(SENTENCES), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_stored_in_half_are_computed_in_single_unless_asked(frames, tmp_path):
    half = make_tiny_clip().to(dtype=torch.float16)
    half.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 2.2 * sum(p.numel() for p in half.model.parameters())
    assert ClipBackbone.from_pretrained(tmp_path).model.dtype == torch.float32
    assert ClipBackbone.from_pretrained(tmp_path, dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_half_precision_gives_nearly_the_same_features_as_float32_arrays(clip, frames):
    half = make_tiny_clip().to(dtype=torch.bfloat16)
    features = half.encode_frames(frames)
    assert features.dtype == np.float32
    assert half.encode_text(["A dog runs."])[0].dtype == np.float32
    np.testing.assert_allclose(features, clip.encode_frames(frames), atol=0.1)


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nothing"):
        ClipBackbone.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_weights_that_are_cut_short_are_an_error(clip, tmp_path, keep):
    clip.save_pretrained(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: int(keep * len(data))])
    with pytest.raises(OSError, match="are damaged or cut short"):
        ClipBackbone.from_pretrained(tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_a_gpu(clip, frames, dtype):
    on_gpu = make_tiny_clip().to("cuda", dtype)
    np.testing.assert_allclose(on_gpu.encode_frames(frames), clip.encode_frames(frames), atol=0.1)
    assert on_gpu.encode_text(["A dog runs."])[0].shape == clip.encode_text(["A dog runs."])[0].shape


@pytest.mark.parametrize(
    ("field", "size"), [("size", {"shortest_edge": 100_000}), ("crop_size", {"height": 8, "width": 64})]
)
def test_an_image_processor_for_pictures_of_another_size_is_refused(clip, tmp_path, field, size):
    clip.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**settings, field: size}))
    with pytest.raises(
        ValueError, match=f"image processor's `{field}` is .*, but the model takes pictures of 64 pixels"
    ):
        ClipBackbone.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rescale_factor", "x", "image processor cannot be used"),
        ("image_std", [1, 2], "image processor cannot be used"),
        ("image_mean", [float("nan")] * 3, "makes no 64 x 64 pixels of finite numbers"),
    ],
)
def test_an_image_processor_that_makes_no_pixels_is_refused_before_the_work(clip, tmp_path, field, value, message):
    clip.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**settings, field: value}))
    with pytest.raises(ValueError, match=f"{message}.*correct preprocessor_config.json"):
        ClipBackbone.from_pretrained(tmp_path)


def test_a_tokenizer_that_cannot_be_used_is_named(clip, monkeypatch):
    def fail(*_):
        raise TypeError("int and str")

    monkeypatch.setattr(clip, "tokenize", fail)
    with pytest.raises(ValueError, match=r"The tokenizer of clip cannot be used \(TypeError: int and str\)"):
        clip.encode_text(SENTENCES)


def test_tokens_that_the_model_does_not_have_are_refused(clip, monkeypatch):
    tokens = clip.tokenize(SENTENCES)
    tokens["input_ids"] = tokens["input_ids"] + 1_000_000
    monkeypatch.setattr(clip, "tokenize", lambda sentences: tokens)
    with pytest.raises(ValueError, match=r"The tokenizer of clip gives tokens that the model does not have"):
        clip.encode_text(SENTENCES)


def test_without_pillow_sentences_are_encoded_and_frames_name_the_extra(clip, frames, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ImportError("CLIPImageProcessorPil requires the PIL library")

    clip.save_pretrained(tmp_path)
    monkeypatch.setattr(ClipBackbone.image_processor_class, "from_pretrained", fail)
    loaded = ClipBackbone.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.encode_text(SENTENCES)[1], clip.encode_text(SENTENCES)[1])
    with pytest.raises(ImportError, match=r"needs Pillow for frames: pip install .*\[video\]"):
        loaded.encode_frames(frames)
