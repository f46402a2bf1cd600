import json

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch import nn
from transformers import AutoConfig, AutoModel

from tests.support import pytorchvideo_slowfast as reference
from tests.support.tiny_backbones import make_tiny_slowfast, randomize_norms, tiny_slowfast_config
from videolights_hf import SlowFastBackbone, VideoLightsSlowFastConfig, VideoLightsSlowFastModel
from videolights_hf.backbones.registry import get_backbone_class
from videolights_hf.backbones.slowfast_network import FrozenBatchNorm
from videolights_hf.backbones.slowfast_weights import convert_slowfast_state_dict
from videolights_hf.video.reader import FrameRequirement


@pytest.fixture(scope="module")
def slowfast():
    return make_tiny_slowfast()


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (3 * 8, 32, 32, 3), dtype=np.uint8)


def random_pixels(config, num_clips=2):
    shape = (num_clips, config.num_frames, 3, config.image_size, config.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class TestModel:
    def test_the_default_is_slowfast_8x8_r50(self):
        config = VideoLightsSlowFastConfig()
        with torch.device("meta"):
            model = VideoLightsSlowFastModel(config)
        # The published model has 34.57 M parameters, 400 * (2304 + 1) of them in its classifier.
        norms = [module for module in model.modules() if isinstance(module, FrozenBatchNorm)]
        learned = model.num_parameters() + sum(norm.weight.numel() + norm.bias.numel() for norm in norms)
        assert round((learned + 400 * 2305) / 1e6, 2) == 34.57
        assert config.feature_size == 2304

    def test_features_are_the_global_means_of_both_paths(self, slowfast):
        config = slowfast.model.config
        with torch.no_grad():
            output = slowfast.model(random_pixels(config))
        assert output.slow_hidden_state.shape == (2, 64, 2, 1, 1)
        assert output.fast_hidden_state.shape == (2, 16, 8, 1, 1)
        means = [output.slow_hidden_state.flatten(2).mean(2), output.fast_hidden_state.flatten(2).mean(2)]
        torch.testing.assert_close(output.pooler_output, torch.cat(means, dim=1))

    def test_the_slow_path_sees_frames_spread_over_the_whole_clip(self):
        model = VideoLightsSlowFastModel(tiny_slowfast_config(num_frames=32)).eval()
        seen = []
        model.slow_stem.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        frame_numbers = torch.arange(32.0).view(1, 32, 1, 1, 1).expand(1, 32, 3, 32, 32)
        with torch.no_grad():
            model(frame_numbers)
        assert seen[0][0, 0, :, 0, 0].tolist() == [0, 4, 8, 13, 17, 22, 26, 31]

    def test_a_tuple_is_returned_when_asked_for(self, slowfast):
        pixels = random_pixels(slowfast.model.config)
        with torch.no_grad():
            pooled, slow, fast = slowfast.model(pixels, return_dict=False)
            output = slowfast.model(pixels)
        torch.testing.assert_close((pooled, slow, fast), output.to_tuple())

    def test_normalization_does_not_learn_in_training(self, slowfast):
        model = make_tiny_slowfast().model
        pixels = random_pixels(model.config)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with torch.no_grad():
            torch.testing.assert_close(model.train()(pixels).pooler_output, model.eval()(pixels).pooler_output)
        torch.testing.assert_close(model.state_dict(), before)
        assert not any("normalization" in name for name, _ in model.named_parameters())

    def test_every_tensor_counts(self):
        model = make_tiny_slowfast(hidden_sizes=[64, 128], depths=[1, 2], slow_temporal_kernel_sizes=[1, 3]).model
        pixels = random_pixels(model.config, num_clips=1)
        with torch.no_grad():
            expected = model(pixels).pooler_output
            for name, tensor in model.state_dict().items():
                before = tensor.clone()
                tensor += 1
                assert not torch.allclose(model(pixels).pooler_output, expected, rtol=1e-4), name
                tensor.copy_(before)
            torch.testing.assert_close(model(pixels).pooler_output, expected)

    def test_saved_and_loaded_gives_the_same_features(self, slowfast, tmp_path):
        slowfast.model.save_pretrained(tmp_path)
        assert (tmp_path / "model.safetensors").is_file()
        loaded = VideoLightsSlowFastModel.from_pretrained(tmp_path)
        assert loaded.config.to_diff_dict() == slowfast.model.config.to_diff_dict()
        pixels = random_pixels(loaded.config)
        with torch.no_grad():
            torch.testing.assert_close(loaded(pixels).pooler_output, slowfast.model(pixels).pooler_output)

    @pytest.mark.parametrize("shape", [(1, 7, 3, 32, 32), (1, 3, 8, 32, 32), (8, 3, 32, 32)])
    def test_other_shapes_are_refused(self, slowfast, shape):
        with pytest.raises(ValueError, match="`pixel_values` has the shape"):
            slowfast.model(torch.zeros(shape))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"num_frames": 30}, "multiple of `alpha`"),
            ({"depths": [1, 1]}, "One size per stage"),
            ({"embedding_size": 6}, "`embedding_size` must be a multiple of `beta_inverse`"),
            ({"hidden_sizes": [16, 32, 48, 60]}, "`hidden_sizes` must be multiples"),
            ({"depths": [1, 1, 0, 1]}, "positive integers"),
            ({"fusion_kernel_size": 4}, "must be odd"),
            ({"image_std": 0.0}, "`image_std` must be positive"),
            ({"alpha": 0}, "`alpha` must be positive"),
            ({"hidden_sizes": [16, 32, 48, 10**9]}, "integers up to 65536"),
            ({"depths": [1, 1, 1, 60_000]}, "at most 1000 blocks"),
            ({"image_size": 10**6}, "positive and at most 65536"),
        ],
    )
    def test_sizes_that_do_not_fit_are_refused(self, settings, message):
        with pytest.raises(StrictDataclassClassValidationError, match=message):
            tiny_slowfast_config(**settings)


class TestAgainstPytorchvideo:
    def test_recorded_features_are_computed(self):
        recorded = json.loads(reference.FIXTURE.read_text())
        config = reference.fixture_config()
        weights = reference.weights_by_name(recorded["shapes"])
        state_dict, left_out = convert_slowfast_state_dict(weights, config, "pytorchvideo")
        assert left_out == []
        model = VideoLightsSlowFastModel(config).eval()
        model.load_state_dict(state_dict)
        with torch.inference_mode():
            features = model(reference.fixture_pixels(config)).pooler_output
        torch.testing.assert_close(features, torch.tensor(recorded["features"]), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("config", "depth"),
        [
            pytest.param(reference.fixture_config(), 18, id="tiny"),
            pytest.param(VideoLightsSlowFastConfig(), 50, id="8x8-r50", marks=pytest.mark.slow),
        ],
    )
    def test_every_layer_computes_the_same(self, config, depth, record_property):
        pytest.importorskip("pytorchvideo")
        torch.manual_seed(0)
        theirs = reference.build_reference(config, depth, with_head=True)
        randomize_norms(theirs, torch.Generator().manual_seed(0))
        state_dict, left_out = convert_slowfast_state_dict(theirs.state_dict(), config, "pytorchvideo")
        assert {name for name in left_out if "num_batches_tracked" not in name} == {
            "blocks.6.proj.weight",
            "blocks.6.proj.bias",
        }
        ours = VideoLightsSlowFastModel(config).eval()
        ours.load_state_dict(state_dict)

        pairs = {}
        for pathway, path in enumerate(("slow", "fast")):
            pairs[f"{path} stem"] = (
                getattr(ours, f"{path}_stem"),
                theirs.blocks[0].multipathway_blocks[pathway],
            )
            for stage, blocks in enumerate(getattr(ours, f"{path}_stages")):
                others = theirs.blocks[stage + 1].multipathway_blocks[pathway].res_blocks
                for index, (block, other) in enumerate(zip(blocks, others, strict=True)):
                    pairs[f"{path} stage {stage + 1} block {index}"] = (block, other)
        for stage, fusion in enumerate(ours.fusions):
            pairs[f"fusion {stage}"] = (fusion, theirs.blocks[stage].multipathway_fusion.activation)
        assert len(pairs) == 2 + 2 * sum(config.depths) + 4

        pixels = random_pixels(config, num_clips=1)
        our_states, their_states = {}, {}
        for name, (one, other) in pairs.items():
            one.register_forward_hook(_keep(our_states, name))
            other.register_forward_hook(_keep(their_states, name))
        theirs.blocks = theirs.blocks[:-1]
        their_features = reference.run_reference(theirs, pixels, config.alpha)
        with torch.inference_mode():
            our_states["features"] = ours(pixels).pooler_output
        their_states["features"] = their_features
        for name, state in their_states.items():
            difference = ((our_states[name] - state).abs().max() / state.abs().max()).item()
            record_property(name, difference)
            assert difference < 1e-5, name

    def test_the_recorded_fixture_is_what_the_package_computes(self, tmp_path, monkeypatch):
        pytest.importorskip("pytorchvideo")
        recorded = json.loads(reference.FIXTURE.read_text())
        monkeypatch.setattr(reference, "FIXTURE", tmp_path / "again.json")
        reference.record_fixture()
        again = json.loads((tmp_path / "again.json").read_text())
        assert again["shapes"] == recorded["shapes"]
        np.testing.assert_allclose(again["features"], recorded["features"], rtol=1e-4, atol=1e-5)


def _keep(states, name):
    def hook(module: nn.Module, args, output):
        states[name] = output.clone()

    return hook


class TestBackbone:
    def test_it_is_known_with_its_dims(self, slowfast):
        assert get_backbone_class("slowfast") is SlowFastBackbone
        assert (slowfast.video_dim, slowfast.text_dim, slowfast.frames_per_clip) == (80, None, 8)
        assert slowfast.requirement == FrameRequirement(32, 8, "30fps")

    def test_the_default_asks_for_32_frames_of_224_pixels(self):
        with torch.device("meta"):
            backbone = SlowFastBackbone(VideoLightsSlowFastModel(VideoLightsSlowFastConfig()))
        assert backbone.requirement == FrameRequirement(224, 32, "30fps")
        assert backbone.video_dim == 2304

    def test_frames_are_scaled_and_normalized_by_the_published_constants(self, slowfast, frames):
        pixels = torch.from_numpy(frames).double().div(255).sub(0.45).div(0.225).float()
        pixels = pixels.reshape(3, 8, 32, 32, 3).permute(0, 1, 4, 2, 3)
        with torch.no_grad():
            expected = slowfast.model(pixels).pooler_output.numpy()
        features = slowfast.encode_frames(frames)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)

    def test_each_clip_has_its_own_features_whatever_the_batch(self, slowfast, frames):
        small = SlowFastBackbone(slowfast.model, batch_size=2)
        features = slowfast.encode_frames(frames)
        np.testing.assert_allclose(small.encode_frames(frames), features, rtol=1e-4, atol=1e-5)
        alone = slowfast.encode_frames(frames[8:16])
        np.testing.assert_allclose(alone[0], features[1], rtol=1e-4, atol=1e-5)
        assert np.abs(features[0] - features[1]).max() > 0.01

    @pytest.mark.parametrize("num_frames", [0, 7, 12])
    def test_frames_that_make_no_whole_clips_are_refused(self, slowfast, num_frames):
        with pytest.raises(ValueError, match=f"{num_frames} frames do not make whole clips of 8"):
            slowfast.encode_frames(np.zeros((num_frames, 32, 32, 3), np.uint8))

    def test_it_has_no_text_encoder(self, slowfast):
        with pytest.raises(ValueError, match="'slowfast' has no text encoder"):
            slowfast.encode_text(["a dog"])

    def test_saved_and_loaded_gives_the_same_features(self, slowfast, frames, tmp_path):
        slowfast.save_pretrained(tmp_path)
        loaded = SlowFastBackbone.from_pretrained(tmp_path)
        np.testing.assert_allclose(loaded.encode_frames(frames), slowfast.encode_frames(frames), rtol=1e-5, atol=1e-5)

    def test_half_precision_gives_nearly_the_same_features(self, slowfast, frames, tmp_path):
        slowfast.save_pretrained(tmp_path)
        half = SlowFastBackbone.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert half.model.dtype == torch.bfloat16
        features, expected = half.encode_frames(frames), slowfast.encode_frames(frames)
        assert features.dtype == np.float32
        assert np.abs(features - expected).max() < 0.05 * np.abs(expected).max()

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_on_a_gpu(self, slowfast, frames, dtype):
        on_gpu = make_tiny_slowfast().to("cuda", dtype)
        expected = slowfast.encode_frames(frames)
        assert np.abs(on_gpu.encode_frames(frames) - expected).max() < 0.05 * np.abs(expected).max()


def test_a_misspelled_field_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"no field .depth.\. Did you mean .depths."):
        VideoLightsSlowFastConfig(depth=[1])


def test_the_auto_classes_load_it(slowfast, tmp_path):
    slowfast.model.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), VideoLightsSlowFastConfig)
    assert isinstance(AutoModel.from_pretrained(tmp_path), VideoLightsSlowFastModel)
