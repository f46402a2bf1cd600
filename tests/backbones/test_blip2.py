import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2TextModelWithProjection,
    Blip2VisionModelWithProjection,
)

from tests.support.tiny_backbones import make_tiny_blip2
from videolights_hf import Blip2Backbone
from videolights_hf.backbones.registry import get_backbone_class
from videolights_hf.video.reader import FrameRequirement

SENTENCES = ["A dog runs (fast)!", "x", "Two people: one sits, one #stands; ~ok*."]


@pytest.fixture(scope="module")
def blip2():
    return make_tiny_blip2()


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def saved(blip2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("blip2")
    blip2.save_pretrained(folder)
    return folder


def clip_normalized(frames):
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    return (pixels - mean) / std


class TestVideo:
    def test_dims_and_frame_size_are_those_of_the_model(self, blip2):
        assert (blip2.video_dim, blip2.text_dim, blip2.frames_per_clip) == (32, 32, 1)
        assert blip2.requirement == FrameRequirement(64, 1)
        assert get_backbone_class("blip2") is Blip2Backbone

    def test_the_public_architecture_gives_768_channels_of_224_pixels(self):
        config = Blip2Config(qformer_config={"use_qformer_text_input": True, "vocab_size": 30523})
        with torch.device("meta"):
            backbone = Blip2Backbone(Blip2ForImageTextRetrieval(config), tokenizer=None)
        assert (backbone.video_dim, backbone.text_dim, backbone.max_text_length) == (768, 768, 512)
        assert backbone.requirement == FrameRequirement(224, 1)

    def test_features_are_the_first_query_token_of_the_q_former(self, blip2, saved, frames):
        vision = Blip2VisionModelWithProjection.from_pretrained(saved, dtype=torch.float32).eval()
        kept = []
        vision.qformer.register_forward_hook(lambda _, args, output: kept.append(output.last_hidden_state))
        with torch.no_grad():
            output = vision(pixel_values=clip_normalized(frames))
        features = blip2.encode_frames(frames)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, kept[0][:, 0].numpy(), atol=1e-5)
        # Neither the image encoder's state nor the projected embedding, which come under likelier names.
        assert output.last_hidden_state.shape[-1] != blip2.video_dim
        assert output.image_embeds.shape[-1] != blip2.video_dim
        assert not np.allclose(features, kept[0][:, 1].numpy(), atol=1e-2)

    def test_each_frame_has_its_own_features_whatever_the_batch(self, blip2, frames):
        small = Blip2Backbone(blip2.model, blip2.tokenizer, blip2.image_processor, batch_size=2)
        features = blip2.encode_frames(frames)
        np.testing.assert_allclose(small.encode_frames(frames), features, atol=1e-5)
        assert np.abs(features[0] - features[1]).max() > 0.01

    def test_frames_of_another_size_are_resized_bicubically(self, blip2):
        large = np.random.default_rng(1).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
        resized = np.asarray(Image.fromarray(large[0]).resize((64, 64), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(blip2.encode_frames(large), blip2.encode_frames(resized[None]), atol=1e-5)


class TestText:
    def test_features_are_the_last_hidden_states_of_every_token(self, blip2, saved):
        text = Blip2TextModelWithProjection.from_pretrained(saved, dtype=torch.float32).eval()
        prepared = ["a dog runs fast", "x", "two people one sits, one stands ok"]
        for sentence, features in zip(prepared, blip2.encode_text(SENTENCES), strict=True):
            tokens = blip2.tokenizer(sentence, return_tensors="pt")
            assert tokens["input_ids"][0, 0] == blip2.tokenizer.cls_token_id
            assert tokens["input_ids"][0, -1] == blip2.tokenizer.sep_token_id
            with torch.no_grad():
                expected = text(tokens["input_ids"], tokens["attention_mask"]).last_hidden_state[0].numpy()
            assert features.dtype == np.float32
            assert features.shape == expected.shape
            np.testing.assert_allclose(features, expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("sentence", "prepared"),
        [
            ("A Dog RUNS", "a dog runs"),
            ('a.b!c"d(e)f*g#h:i;j~k', "a b c d e f g h i j k"),
            ("  a \t b\n\nc ", "a b c"),
            ("it's 5-6, isn't it?", "it's 5-6, isn't it?"),
            (" ".join(["a"] * 50), " ".join(["a"] * 50)),
        ],
    )
    def test_sentences_are_prepared_as_for_blip2(self, blip2, sentence, prepared, monkeypatch, recwarn):
        seen = []
        tokenizer = blip2.tokenizer

        def tokenize(sentences, **kwargs):
            seen.extend(sentences)
            return tokenizer(sentences, **kwargs)

        monkeypatch.setattr(blip2, "tokenizer", tokenize)
        blip2.encode_text([sentence])
        assert set(seen) == {prepared}
        assert not recwarn.list

    def test_words_beyond_fifty_are_cut_off_with_a_warning(self, blip2):
        with pytest.warns(UserWarning, match="has 60 words, BLIP-2 takes 50"):
            (features,) = blip2.encode_text(["a " * 60])
        assert len(features) == 52

    def test_tokens_beyond_the_positions_are_cut_off_with_a_warning(self):
        short = make_tiny_blip2(max_length=16)
        with pytest.warns(UserWarning, match="has 22 tokens, the Q-Former takes 16"):
            (features,) = short.encode_text(["abcdefghijklmnopqrst"])
        assert features.shape == (16, 32)

    def test_features_do_not_depend_on_the_batch(self, blip2):
        together = blip2.encode_text(SENTENCES)
        small = Blip2Backbone(blip2.model, blip2.tokenizer, batch_size=2)
        for sentence, one, other in zip(SENTENCES, together, small.encode_text(SENTENCES), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
            np.testing.assert_allclose(one, blip2.encode_text([sentence])[0], atol=1e-5)

    def test_a_tokenizer_that_pads_on_the_left_does_not_matter(self):
        left, right = make_tiny_blip2(), make_tiny_blip2()
        left.tokenizer.padding_side = "left"
        for one, other in zip(left.encode_text(SENTENCES), right.encode_text(SENTENCES), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


class TestSaving:
    def test_saved_and_loaded_gives_the_same_features(self, blip2, saved, frames):
        loaded = Blip2Backbone.from_pretrained(saved)
        np.testing.assert_allclose(loaded.encode_frames(frames), blip2.encode_frames(frames), rtol=1e-5, atol=1e-5)
        for one, other in zip(loaded.encode_text(SENTENCES), blip2.encode_text(SENTENCES), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)

    def test_image_and_text_encoders_share_one_q_former(self, saved):
        stored = load_file(saved / "model.safetensors")
        loaded = Blip2Backbone.from_pretrained(saved)
        assert sum(tensor.numel() for tensor in stored.values()) == loaded.model.num_parameters()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_the_same_however_it_is_asked_for(self, blip2, saved, frames, dtype):
        loaded, moved = Blip2Backbone.from_pretrained(saved, dtype=dtype), make_tiny_blip2().to(dtype=dtype)
        for half in (loaded, moved):
            assert half.model.vision_model.dtype == dtype
            assert {parameter.dtype for parameter in half.model.qformer.parameters()} == {torch.float32}
            assert half.model.query_tokens.dtype == torch.float32
        features = loaded.encode_frames(frames)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, moved.encode_frames(frames), atol=0.05)
        np.testing.assert_allclose(features, blip2.encode_frames(frames), atol=0.2)
        np.testing.assert_allclose(loaded.encode_text(["a dog"])[0], blip2.encode_text(["a dog"])[0], atol=0.2)

    def test_weights_stored_in_half_are_computed_in_single_unless_asked(self, frames, tmp_path):
        make_tiny_blip2().to(dtype=torch.float16).save_pretrained(tmp_path)
        loaded = Blip2Backbone.from_pretrained(tmp_path)
        assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}

    def test_missing_weights_are_an_error(self, saved, tmp_path):
        backbone = Blip2Backbone.from_pretrained(saved)
        backbone.save_pretrained(tmp_path)
        weights = load_file(tmp_path / "model.safetensors")
        del weights["embeddings.word_embeddings.weight"], weights["query_tokens"]
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(OSError, match=r"lacks 2 weights \(embeddings\.word_embeddings.*query_tokens\)"):
            Blip2Backbone.from_pretrained(tmp_path)

    def test_a_model_that_reads_no_text_is_refused(self, blip2):
        config = blip2.model.config.to_dict()
        config["qformer_config"]["use_qformer_text_input"] = False
        with pytest.raises(ValueError, match=r"cannot encode text.*blip2-itm-vit-g"):
            Blip2Backbone(Blip2ForImageTextRetrieval(Blip2Config(**config)), blip2.tokenizer)

    def test_a_missing_checkpoint_is_an_error(self, tmp_path):
        with pytest.raises(OSError, match="nothing"):
            Blip2Backbone.from_pretrained(tmp_path / "nothing")

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_on_a_gpu(self, blip2, frames, dtype):
        on_gpu = make_tiny_blip2().to("cuda", dtype)
        np.testing.assert_allclose(on_gpu.encode_frames(frames), blip2.encode_frames(frames), atol=0.2)
        np.testing.assert_allclose(on_gpu.encode_text(["a dog"])[0], blip2.encode_text(["a dog"])[0], atol=0.2)
