import json
import shutil
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.support.tiny_backbones import ColorBackbone, make_tiny_clip
from tests.support.videos import numbered_frames, write_video
from videolights_hf.backbones.features import VideoFeatures
from videolights_hf.backbones.registry import BACKBONES
from videolights_hf.hub import push as hub_videolights
from videolights_hf.inference import processing as processing_videolights
from videolights_hf.inference.inputs import l2_normalize, temporal_channels
from videolights_hf.inference.processing import VideoLightsProcessor
from videolights_hf.models.videolights.configuration import VideoLightsConfig
from videolights_hf.video.reader import VideoReadError


def make_processor(**settings) -> VideoLightsProcessor:
    processor = VideoLightsProcessor([["clip", 24]], [["clip", 32]], **settings)
    processor.set_backbone(make_tiny_clip())
    return processor


@pytest.fixture(scope="module")
def processor():
    return make_processor()


@pytest.fixture(scope="module")
def two_backbones():
    return VideoLightsProcessor([["slowfast", 6], ["clip", 4]], [["clip", 4], ["blip2", 3]])


@pytest.fixture(scope="module")
def with_audio():
    return VideoLightsProcessor([["clip", 4]], [["clip", 4]], audio_dim=3)


@pytest.fixture(scope="module")
def video_path(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("videos") / "video.mp4", numbered_frames(range(100)), 10)


def random_features(rows: int, seed: int = 0, **dims: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=(rows, dim)).astype(np.float16) for name, dim in dims.items()}


def make_outputs(**tensors):
    default = {
        "logits": torch.tensor([[[2.0, 0.0], [0.0, 0.0], [4.0, 0.0]]]),
        "pred_spans": torch.tensor([[[0.5, 0.2], [0.9, 0.4], [0.25, 0.1]]]),
        "saliency_scores": torch.linspace(-1, 1, 20)[None],
    }
    return SimpleNamespace(**{**default, **tensors})


class TestFeatureInput:
    def test_rows_are_normalized_per_backbone_and_joined_in_order_with_the_temporal_channels(self, two_backbones):
        features = random_features(5, clip=4, slowfast=6)
        inputs = two_backbones(videos=features)
        expected = []
        for name in ("slowfast", "clip"):
            rows = features[name].astype(np.float32)
            expected.append(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5))
        expected.append([[index / 5, (index + 1) / 5] for index in range(5)])
        assert inputs["video_features"].dtype == torch.float32
        np.testing.assert_allclose(inputs["video_features"][0], np.concatenate(expected, axis=1), atol=1e-6)
        assert inputs["video_attention_mask"].tolist() == [[1] * 5]

    def test_shorter_samples_are_padded_with_zeros_and_masked(self, two_backbones):
        videos = [random_features(rows, rows, slowfast=6, clip=4) for rows in (5, 2)]
        sentences = [random_features(rows, rows, clip=4, blip2=3) for rows in (3, 4)]
        inputs = two_backbones(videos=videos, text=sentences)
        assert inputs["video_features"].shape == (2, 5, 12)
        assert inputs["video_attention_mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
        assert inputs["text_features"].shape == (2, 4, 7)
        assert inputs["text_attention_mask"].tolist() == [[1, 1, 1, 0], [1] * 4]
        assert not inputs["video_features"][1, 2:].any()
        alone = two_backbones(videos=videos[1], text=sentences[1])
        torch.testing.assert_close(inputs["video_features"][1, :2], alone["video_features"][0], rtol=0, atol=0)
        torch.testing.assert_close(inputs["text_features"][1], alone["text_features"][0], rtol=0, atol=0)

    def test_backbones_of_different_length_are_cut_to_the_shortest(self, two_backbones, recwarn):
        features = random_features(6, slowfast=6) | random_features(5, clip=4)
        inputs = two_backbones(videos=features)
        assert inputs["video_features"].shape == (1, 5, 12)
        np.testing.assert_allclose(inputs["video_features"][0, :, -2:], temporal_channels(5))
        assert not recwarn.list

    def test_a_difference_of_more_than_two_clips_is_warned_about(self, two_backbones):
        features = random_features(8, slowfast=6) | random_features(5, clip=4)
        with pytest.warns(UserWarning, match="slowfast 8, clip 5"):
            assert two_backbones(videos=features)["video_features"].shape[1] == 5

    def test_text_encoders_of_different_length_are_cut_without_a_warning(self, two_backbones, recwarn):
        features = random_features(9, clip=4) | random_features(4, blip2=3)
        assert two_backbones(text=features)["text_features"].shape == (1, 4, 7)
        assert not recwarn.list

    def test_over_long_features_are_truncated_with_a_warning(self, two_backbones):
        with pytest.warns(UserWarning, match="80 clips, the model sees 75"):
            inputs = two_backbones(videos=random_features(80, slowfast=6, clip=4))
        np.testing.assert_allclose(inputs["video_features"][0, :, -2:], temporal_channels(75))
        with pytest.warns(UserWarning, match="40 tokens, the model reads 32"):
            assert two_backbones(text=random_features(40, clip=4, blip2=3))["text_features"].shape[1] == 32

    def test_tensors_and_lists_are_features_too(self, two_backbones):
        features = random_features(3, slowfast=6, clip=4)
        expected = two_backbones(videos=features)["video_features"]
        tensors = {name: torch.from_numpy(array).requires_grad_() for name, array in features.items()}
        lists = {name: array.tolist() for name, array in features.items()}
        torch.testing.assert_close(two_backbones(videos=tensors)["video_features"], expected)
        torch.testing.assert_close(two_backbones(videos=lists)["video_features"], expected)

    def test_a_row_of_zeros_stays_zero(self):
        assert l2_normalize(np.zeros((1, 4), np.float16)).tolist() == [[0, 0, 0, 0]]

    def test_large_features_do_not_become_zero(self):
        np.testing.assert_allclose(l2_normalize(np.full((1, 4), 1e38)), 0.5, rtol=1e-4)

    def test_large_half_precision_features_do_not_overflow(self):
        normalized = l2_normalize(np.full((1, 4), 60_000, np.float16))
        np.testing.assert_allclose(normalized, 0.5, rtol=1e-4)

    def test_one_video_is_paired_with_every_sentence(self, two_backbones):
        video = VideoFeatures(random_features(5, slowfast=6, clip=4), duration=10.0, clip_length=2.0)
        inputs = two_backbones(videos=video, text=[random_features(3, seed, clip=4, blip2=3) for seed in range(3)])
        assert inputs["video_features"].shape == (3, 5, 12)
        assert inputs["video_attention_mask"].shape == (3, 5)
        torch.testing.assert_close(inputs["video_features"][0], inputs["video_features"][2])

    def test_numpy_on_request(self, two_backbones):
        inputs = two_backbones(videos=random_features(3, slowfast=6, clip=4), return_tensors="np")
        assert isinstance(inputs["video_features"], np.ndarray)


class TestAudio:
    def test_audio_is_normalized_cut_to_the_video_and_given_apart(self, with_audio):
        audio = np.random.default_rng(0).normal(size=(4, 3))
        inputs = with_audio(videos=random_features(5, clip=4), audio=audio)
        np.testing.assert_allclose(inputs["audio_features"][0], l2_normalize(audio), atol=1e-6)
        assert inputs["video_features"].shape == (1, 4, 6)
        np.testing.assert_allclose(inputs["video_features"][0, :, -2:], temporal_channels(4))
        assert set(with_audio.model_input_names) >= set(inputs)

    def test_audio_of_a_batch_is_padded(self, with_audio):
        videos = [random_features(rows, clip=4) for rows in (5, 3)]
        inputs = with_audio(videos=videos, audio=[np.ones((5, 3)), np.ones((3, 3))])
        assert inputs["audio_features"].shape == (2, 5, 3)
        assert not inputs["audio_features"][1, 3:].any()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "expects audio features of width 3"),
            ({"audio": np.ones((5, 2))}, "audio features of video 0 are 2 wide, expected 3"),
            ({"audio": np.full((5, 3), np.nan)}, "audio features of video 0 hold NaN"),
            ({"audio": [np.ones((5, 3))] * 2}, "1 videos came with 2"),
        ],
    )
    def test_audio_that_does_not_fit_is_refused(self, with_audio, arguments, message):
        with pytest.raises(ValueError, match=message):
            with_audio(videos=random_features(5, clip=4), **arguments)

    def test_audio_out_of_place_is_refused(self, two_backbones, with_audio):
        with pytest.raises(ValueError, match="expects no audio features"):
            two_backbones(videos=random_features(5, slowfast=6, clip=4), audio=np.ones((5, 3)))
        with pytest.raises(ValueError, match="goes with `videos`"):
            with_audio(text=random_features(3, clip=4), audio=np.ones((5, 3)))


class TestBadFeatures:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"clip": np.ones((5, 7))}, "clip features of video 1 are 7 wide, expected 4"),
            ({"clip": np.ones((0, 4))}, "clip features of video 1 are empty"),
            ({"clip": np.ones(4)}, r"clip features of video 1 have the shape \(4,\)"),
            ({"clip": np.full((5, 4), np.nan)}, "clip features of video 1 hold NaN or infinite values in 5 of 5"),
            ({"clip": np.array([[1, 2, 3, 4], [1, np.inf, 3, 4]])}, "in 1 of 2 rows, first in clip 1"),
            ({"clip": np.array([["a"] * 4])}, "not numbers"),
            ({"clip": np.full((5, 4), 1e39)}, "hold NaN or infinite values"),
            ({"i3d": np.ones((5, 4))}, "features of video 1 must come from slowfast, clip .*unknown: i3d"),
        ],
    )
    def test_features_that_do_not_fit_are_refused_by_name(self, two_backbones, change, message):
        good = random_features(5, slowfast=6, clip=4)
        with pytest.raises(ValueError, match=message):
            two_backbones(videos=[good, good | change])

    def test_a_missing_backbone_is_named(self, two_backbones):
        with pytest.raises(ValueError, match=r"features of sentence 0 must come from clip, blip2 .*missing: blip2"):
            two_backbones(text=random_features(3, clip=4))

    def test_text_features_are_counted_in_tokens(self, two_backbones):
        bad = random_features(3, clip=4, blip2=3)
        bad["blip2"][2, 0] = np.inf
        with pytest.raises(ValueError, match="first in token 2"):
            two_backbones(text=bad)

    def test_numbers_that_do_not_pair_up_are_refused(self, two_backbones):
        videos = [random_features(5, slowfast=6, clip=4)] * 2
        with pytest.raises(ValueError, match="2 videos and 3 sentences"):
            two_backbones(videos=videos, text=[random_features(3, clip=4, blip2=3)] * 3)

    @pytest.mark.parametrize("arguments", [{}, {"videos": []}, {"text": []}])
    def test_nothing_is_refused(self, two_backbones, arguments):
        with pytest.raises(ValueError, match=r"[Gg]ive"):
            two_backbones(**arguments)


class TestRawInput:
    def test_a_video_is_encoded_clip_by_clip(self, processor, video_path):
        video = processor.encode_video(video_path)
        assert video.features["clip"].shape == (5, 24)
        assert (video.duration, video.clip_length, video.num_clips) == (10.0, 2.0, 5)
        crops = np.stack([np.asarray(frame) for frame in numbered_frames([9, 29, 49, 69, 89], 64, 64)])
        exact = processor.get_backbone("clip").encode_frames(crops)
        similarity = (l2_normalize(exact) @ l2_normalize(video.features["clip"]).T).argmax(axis=1)
        assert similarity.tolist() == [0, 1, 2, 3, 4]

    def test_raw_and_encoded_inputs_give_the_same_tensors(self, processor, video_path):
        sentences = ["a red ball", "a dog that runs on the beach"]
        raw = processor(videos=video_path, text=sentences)
        encoded = processor(videos=processor.encode_video(video_path), text=processor.encode_text(sentences))
        for name in raw:
            torch.testing.assert_close(raw[name], encoded[name], rtol=0, atol=0)
        assert raw["video_features"].shape == (2, 5, 26)
        assert raw["text_attention_mask"].sum(dim=1).tolist() == [10, 24]

    def test_every_form_of_a_video_is_accepted(self, processor, video_path):
        from PIL import Image

        frames = numbered_frames(range(100))
        expected = processor(videos=frames, fps=10)["video_features"]
        images = [Image.fromarray(frame) for frame in frames]
        torch.testing.assert_close(processor(videos=images, fps=10)["video_features"], expected)
        torch.testing.assert_close(processor(videos=list(frames), fps=10)["video_features"], expected)
        torch.testing.assert_close(processor(videos=[frames, images], fps=10)["video_features"][1], expected[0])
        with open(video_path, "rb") as file:
            from_file = processor(videos=file)["video_features"]
        torch.testing.assert_close(from_file, processor(videos=str(video_path))["video_features"])
        torch.testing.assert_close(processor(videos=[video_path])["video_features"], from_file)

    def test_raw_and_precomputed_sentences_mix(self, processor):
        features = processor.encode_text("a blue square")[0]
        mixed = processor(text=["a blue square", features])["text_features"]
        torch.testing.assert_close(mixed[0], mixed[1])

    def test_a_short_video_gives_two_clips_of_half_its_length(self, processor):
        video = processor.encode_video(numbered_frames(range(10)), fps=10)
        assert (video.num_clips, video.clip_length, video.duration) == (2, 0.5, 1.0)

    def test_other_clip_lengths_count(self, video_path):
        video = make_processor(clip_length=1).encode_video(video_path)
        assert (video.num_clips, video.clip_length) == (10, 1.0)

    def test_progress_is_shown_on_request(self, processor, video_path, capsys):
        processor.encode_video(video_path)
        assert "Encoding" not in capsys.readouterr().err
        processor.encode_video(video_path, show_progress=True)
        assert "5/5" in capsys.readouterr().err

    def test_backbones_of_different_needs_share_one_pass(self, video_path, monkeypatch):
        readers = []
        reader = processing_videolights.VideoReader
        monkeypatch.setattr(
            processing_videolights, "VideoReader", lambda *arguments: readers.append(reader(*arguments)) or readers[-1]
        )
        processor = VideoLightsProcessor([["color", 3], ["clip", 24]], [["clip", 32]])
        processor.set_backbone(make_tiny_clip())
        processor.set_backbone(ColorBackbone())
        video = processor.encode_video(video_path)
        assert len(readers) == 1
        assert {name: array.shape for name, array in video.features.items()} == {"color": (5, 3), "clip": (5, 24)}
        assert processor(videos=video)["video_features"].shape == (1, 5, 29)

    def test_a_video_that_breaks_off_raises_its_own_error(self, processor, video_path, monkeypatch):
        def break_off(*_):
            raise VideoReadError("broken off")
            yield

        monkeypatch.setattr(processing_videolights.VideoReader, "clip_frames", break_off)
        with pytest.raises(VideoReadError, match="broken off"):
            processor.encode_video(video_path)

    def test_features_come_in_the_order_of_the_backbones(self, video_path):
        processor = VideoLightsProcessor([["color", 3], ["clip", 24]], [["clip", 32]])
        clip = make_tiny_clip()
        # It is done with its first batch before the other one begins.
        clip.batch_size = 1
        processor.set_backbone(clip)
        processor.set_backbone(ColorBackbone())
        assert list(processor.encode_video(video_path).features) == ["color", "clip"]

    @pytest.mark.parametrize("sentence", ["", "   \n", None, 3])
    def test_an_empty_sentence_is_refused(self, processor, sentence):
        with pytest.raises(ValueError, match="Sentence 1 is"):
            processor.encode_text(["a dog", sentence])

    def test_a_sentence_that_is_too_long_is_cut_with_warnings(self, processor):
        with (
            pytest.warns(UserWarning, match="the model reads 32"),
            pytest.warns(UserWarning, match="the text encoder takes 77"),
        ):
            assert processor(text="word " * 50)["text_features"].shape[1] == 32

    def test_bad_videos_are_refused(self, processor, tmp_path):
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(VideoReadError):
            processor(videos=tmp_path / "text.mp4")
        with pytest.raises(FileNotFoundError):
            processor(videos=tmp_path / "nowhere.mp4")

    def test_features_without_a_running_backbone_are_asked_for(self, video_path):
        processor = VideoLightsProcessor([["slowfast", 6]], [["clip", 4]], backbone_checkpoints={})
        with pytest.raises(ValueError, match=r"for the backbone 'slowfast'.*precomputed"):
            processor.encode_video(video_path)


class TestSettings:
    def test_a_processor_made_for_a_config_fits_it(self):
        config = VideoLightsConfig.from_preset("videolights-b", "charades_sta")
        processor = VideoLightsProcessor.from_config(config, {"clip": "somewhere/else"})
        processor.check_compatible(config)
        assert processor.clip_length == 1.0
        assert processor.backbone_checkpoints == {"clip": "somewhere/else"}
        assert VideoLightsProcessor.from_config(config).backbone_checkpoints["clip"].startswith("openai/")

    @pytest.mark.parametrize(
        "change",
        [
            {"video_backbones": [["clip", 512], ["slowfast", 2304]]},
            {"text_backbones": [["clip", 512]]},
            {"audio_dim": 5},
            {"clip_length": 1.0},
            {"max_video_length": 100},
            {"max_text_length": 20},
        ],
    )
    def test_a_processor_that_disagrees_with_the_model_is_refused(self, change):
        processor = VideoLightsProcessor.from_config(VideoLightsConfig())
        (field,) = change
        with pytest.raises(ValueError, match=f"does not fit the model: {field}: processor"):
            processor.check_compatible(VideoLightsConfig(**change))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"video_backbones": []}, "video_backbones"),
            ({"text_backbones": []}, "text_backbones"),
            ({"clip_length": 0}, "clip_length"),
            ({"max_video_length": 0}, "max_video_length"),
            ({"max_text_length": -1}, "max_text_length"),
        ],
    )
    def test_senseless_settings_are_refused(self, change, message):
        with pytest.raises(ValueError, match=message):
            VideoLightsProcessor(**{"video_backbones": [["clip", 4]], "text_backbones": [["clip", 4]], **change})

    def test_model_input_names(self, processor):
        inputs = processor(videos=random_features(3, clip=24), text="a dog")
        assert set(processor.model_input_names) == set(inputs)


class TestBackbones:
    def test_public_checkpoints_are_known_for_the_backbones_in_use(self):
        both = VideoLightsProcessor([["clip", 512], ["blip2", 768]], [["blip2", 768]])
        assert both.backbone_checkpoints == {
            "clip": "openai/clip-vit-base-patch32",
            "blip2": "Salesforce/blip2-itm-vit-g",
        }
        assert list(VideoLightsProcessor([["clip", 512]], [["clip", 512]]).backbone_checkpoints) == ["clip"]

    def test_a_backbone_of_another_width_is_refused(self):
        processor = VideoLightsProcessor([["clip", 512]], [["clip", 32]])
        with pytest.raises(ValueError, match=r"video features of the backbone 'clip' are 24 wide.*expects 512"):
            processor.set_backbone(make_tiny_clip())
        processor = VideoLightsProcessor([["clip", 24]], [["clip", 512]])
        with pytest.raises(ValueError, match=r"text features of the backbone 'clip' are 32 wide.*expects 512"):
            processor.set_backbone(make_tiny_clip())

    def test_a_backbone_that_is_not_used_is_refused(self, processor):
        with pytest.raises(ValueError, match="uses no backbone 'color', only clip"):
            processor.set_backbone(ColorBackbone())

    def test_a_backbone_without_a_checkpoint_is_asked_for(self):
        processor = VideoLightsProcessor([["clip", 24]], [["clip", 32]], backbone_checkpoints={})
        with pytest.raises(ValueError, match="No checkpoint is known for the backbone 'clip'"):
            processor.encode_text("a dog")

    def test_device_and_type_reach_backbones_now_and_later(self, tmp_path):
        make_processor().save_pretrained(tmp_path)
        later = VideoLightsProcessor.from_pretrained(tmp_path).to(dtype=torch.bfloat16)
        assert later.get_backbone("clip").model.dtype == torch.bfloat16
        now = make_processor().to("cpu", torch.bfloat16)
        assert now.get_backbone("clip").model.dtype == torch.bfloat16
        attached = VideoLightsProcessor([["clip", 24]], [["clip", 32]]).to(dtype=torch.bfloat16)
        attached.set_backbone(make_tiny_clip())
        assert attached.get_backbone("clip").model.dtype == torch.bfloat16


class TestSaving:
    def test_a_saved_folder_holds_everything_and_can_move(self, processor, video_path, tmp_path):
        processor.save_pretrained(tmp_path / "first")
        shutil.move(tmp_path / "first", tmp_path / "moved")
        loaded = VideoLightsProcessor.from_pretrained(tmp_path / "moved")
        np.testing.assert_array_equal(
            loaded.encode_video(video_path).features["clip"], processor.encode_video(video_path).features["clip"]
        )
        assert loaded.to_dict() == processor.to_dict()
        assert json.loads((tmp_path / "moved" / "processor_config.json").read_text())["backbone_checkpoints"] == {
            "clip": "backbones/clip"
        }

    def test_a_loaded_processor_takes_its_backbones_along(self, processor, tmp_path):
        processor.save_pretrained(tmp_path / "first")
        VideoLightsProcessor.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
        shutil.rmtree(tmp_path / "first")
        loaded = VideoLightsProcessor.from_pretrained(tmp_path / "second")
        assert len(loaded.encode_text("a dog")) == 1

    def test_a_processor_can_be_saved_where_it_came_from(self, processor, tmp_path):
        processor.save_pretrained(tmp_path)
        VideoLightsProcessor.from_pretrained(tmp_path).save_pretrained(tmp_path)
        expected = processor.encode_text("a dog")[0]["clip"]
        loaded = VideoLightsProcessor.from_pretrained(tmp_path)
        np.testing.assert_array_equal(loaded.encode_text("a dog")[0]["clip"], expected)

    def test_a_backbone_from_a_path_is_bundled_one_from_the_hub_is_named(self, tmp_path):
        make_tiny_clip().save_pretrained(tmp_path / "my-clip")
        dims = ([["clip", 24]], [["clip", 32]])
        local = VideoLightsProcessor(*dims, backbone_checkpoints={"clip": str(tmp_path / "my-clip")})
        local.save_pretrained(tmp_path / "local")
        assert (tmp_path / "local" / "backbones" / "clip" / "model.safetensors").exists()
        hub = VideoLightsProcessor(*dims, backbone_checkpoints={"clip": "someone/their-clip"})
        hub.save_pretrained(tmp_path / "hub")
        assert not (tmp_path / "hub" / "backbones").exists()
        loaded = VideoLightsProcessor.from_pretrained(tmp_path / "hub")
        assert loaded.backbone_checkpoints == {"clip": "someone/their-clip"}

    def test_relative_folders_of_any_name_work(self, tmp_path):
        make_tiny_clip().save_pretrained(tmp_path / "nested" / "parts" / "clip")
        processor = VideoLightsProcessor(
            [["clip", 24]], [["clip", 32]], backbone_checkpoints={"clip": "someone/their-clip"}
        )
        processor.save_pretrained(tmp_path / "nested")
        loaded = VideoLightsProcessor.from_pretrained(
            tmp_path, subfolder="nested", backbone_checkpoints={"clip": "parts/clip"}
        )
        assert len(loaded.encode_text("a dog")) == 1

    def test_the_order_of_backbones_survives(self, tmp_path):
        order = [["slowfast", 2304], ["clip", 512], ["blip2", 768]]
        VideoLightsProcessor(order, order[:0:-1]).save_pretrained(tmp_path)
        loaded = VideoLightsProcessor.from_pretrained(tmp_path)
        assert (loaded.video_backbones, loaded.text_backbones) == (order, order[:0:-1])

    def test_settings_can_be_overridden_on_loading(self, processor, tmp_path):
        processor.save_pretrained(tmp_path)
        assert VideoLightsProcessor.from_pretrained(tmp_path, clip_length=1.0).clip_length == 1.0

    def test_a_missing_bundled_backbone_is_named(self, processor, tmp_path):
        processor.save_pretrained(tmp_path)
        shutil.rmtree(tmp_path / "backbones")
        with pytest.raises(FileNotFoundError, match="backbones/clip"):
            VideoLightsProcessor.from_pretrained(tmp_path).encode_text("a dog")

    def test_a_relative_checkpoint_needs_an_origin(self):
        processor = VideoLightsProcessor(
            [["clip", 24]], [["clip", 32]], backbone_checkpoints={"clip": "backbones/clip"}
        )
        with pytest.raises(ValueError, match="relative to the folder of a saved processor"):
            processor.encode_text("a dog")

    def test_a_place_without_a_processor_is_named(self, tmp_path):
        with pytest.raises(OSError, match="nothing is neither a folder nor"):
            VideoLightsProcessor.from_pretrained(tmp_path / "nothing")
        with pytest.raises(OSError, match=r"no processor_config\.json"):
            VideoLightsProcessor.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        "content", ["[]", "[3]", '"x"', "3", '{"clip_length": null}', '{"video_backbones": 3}', "[" * 100_000]
    )
    def test_damaged_settings_are_a_value_error(self, tmp_path, content):
        (tmp_path / "processor_config.json").write_text(content)
        with pytest.raises((ValueError, OSError), match=r"processor_config|clip_length|backbones"):
            VideoLightsProcessor.from_pretrained(tmp_path)

    @pytest.mark.parametrize("subfolder", ["", "part"])
    def test_backbones_come_from_the_same_hub_repository(self, processor, tmp_path, subfolder):
        commit = "0123456789abcdef0123456789abcdef01234567"
        repository = tmp_path / "models--someone--moments"
        processor.save_pretrained(repository / "snapshots" / commit / subfolder)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
        loaded = VideoLightsProcessor.from_pretrained(
            "someone/moments", cache_dir=tmp_path, local_files_only=True, subfolder=subfolder
        )
        np.testing.assert_array_equal(
            loaded.encode_text("a dog")[0]["clip"], processor.encode_text("a dog")[0]["clip"]
        )

    def test_everything_is_uploaded_to_the_hub(self, processor, tmp_path, monkeypatch):
        uploads = []

        def upload(repo_id, folder_path, **kwargs):
            uploads.append((repo_id, VideoLightsProcessor.from_pretrained(folder_path).encode_text("a dog"), kwargs))

        monkeypatch.setattr(hub_videolights, "upload_folder", upload)
        monkeypatch.setattr(
            hub_videolights, "create_repo", lambda repo_id, **_: SimpleNamespace(repo_id=f"me/{repo_id}")
        )
        processor.push_to_hub("moments", private=True)
        processor.save_pretrained(tmp_path / "other", push_to_hub=True, commit_message="Share")
        assert [(repo_id, kwargs["commit_message"]) for repo_id, _, kwargs in uploads] == [
            ("me/moments", "Upload processor"),
            ("me/other", "Share"),
        ]


class TestPredictions:
    def test_moments_are_spans_in_seconds_by_foreground_probability(self, two_backbones):
        (result,) = two_backbones.post_process_moment_retrieval(
            make_outputs(), [40.0], round_to_clips=False, clamp=None
        )
        assert result["moments"] == [
            {"start": 8.0, "end": 12.0, "score": 0.982},
            {"start": 16.0, "end": 24.0, "score": 0.8808},
            {"start": 28.0, "end": 44.0, "score": 0.5},
        ]
        assert result["saliency"] == pytest.approx(np.linspace(-1, 1, 20))

    def test_bounds_and_rounding(self, two_backbones):
        outputs = make_outputs()
        (result,) = two_backbones.post_process_moment_retrieval(outputs, 39.0)
        assert [(m["start"], m["end"]) for m in result["moments"]] == [(8, 12), (16, 24), (28, 39)]
        (result,) = two_backbones.post_process_moment_retrieval(outputs, 39.0, clamp=(0, 150))
        assert [(m["start"], m["end"]) for m in result["moments"]] == [(8, 12), (16, 24), (28, 42)]

    def test_threshold_top_k_nms_and_lengths(self, two_backbones):
        outputs = make_outputs(pred_spans=torch.tensor([[[0.5, 0.2], [0.5, 0.2], [0.25, 0.1]]]))

        def scores(**settings):
            (result,) = two_backbones.post_process_moment_retrieval(outputs, 40.0, **settings)
            return [moment["score"] for moment in result["moments"]]

        assert scores(score_threshold=0.6) == [0.982, 0.8808]
        assert scores(top_k=1) == [0.982]
        assert scores(nms_threshold=0.7) == [0.982, 0.8808]
        assert scores(nms_threshold=0.7, max_after_nms=1) == [0.982]
        (result,) = two_backbones.post_process_moment_retrieval(outputs, 40.0, min_length=10, keep="right", top_k=1)
        assert (result["moments"][0]["start"], result["moments"][0]["end"]) == (2, 12)

    def test_short_videos_are_rounded_to_their_own_clips(self, two_backbones):
        outputs = make_outputs(pred_spans=torch.tensor([[[0.3, 0.4], [0.9, 0.4], [0.76, 0.45]]]))
        (result,) = two_backbones.post_process_moment_retrieval(outputs, 1.0)
        assert [(m["start"], m["end"]) for m in result["moments"]] == [(0.5, 1.0), (0.0, 0.5), (0.5, 1.0)]
        assert len(result["saliency"]) == 2

    def test_saliency_ends_with_the_valid_clips(self, two_backbones):
        outputs = make_outputs(
            **{name: tensor.expand(2, *tensor.shape[1:]) for name, tensor in vars(make_outputs()).items()}
        )
        mask = torch.tensor([[1] * 20, [1] * 7 + [0] * 13])
        by_mask = two_backbones.post_process_moment_retrieval(outputs, [40.0, 14.0], video_attention_mask=mask)
        by_duration = two_backbones.post_process_moment_retrieval(outputs, [40.0, 14.0])
        assert [len(result["saliency"]) for result in by_mask] == [20, 7]
        assert by_mask == by_duration

    def test_half_precision_outputs(self, two_backbones):
        outputs = make_outputs(
            **{name: tensor.bfloat16().requires_grad_() for name, tensor in vars(make_outputs()).items()}
        )
        (result,) = two_backbones.post_process_moment_retrieval(outputs, 40.0)
        assert [(m["start"], m["end"]) for m in result["moments"]] == [(8, 12), (16, 24), (28, 40)]

    @pytest.mark.parametrize(
        ("durations", "settings", "message"),
        [
            ([1.0, 2.0], {}, "1 samples came with durations"),
            ([0.0], {}, "positive"),
            ([float("nan")], {}, "positive"),
            ([40.0], {"video_attention_mask": torch.ones(1, 19)}, r"\(1, 19\).*\(1, 20\)"),
            ([40.0], {"top_k": 0}, "top_k"),
            ([40.0], {"nms_threshold": 2}, "nms_threshold"),
        ],
    )
    def test_arguments_that_do_not_fit_are_refused(self, two_backbones, durations, settings, message):
        with pytest.raises(ValueError, match=message):
            two_backbones.post_process_moment_retrieval(make_outputs(), durations, **settings)


def test_a_registered_backbone_is_loaded_by_its_name(monkeypatch, video_path):
    monkeypatch.setitem(BACKBONES, "color", ColorBackbone)
    processor = VideoLightsProcessor(
        [["color", 3]], [["clip", 4]], backbone_checkpoints={"color": "anywhere"}, clip_length=Fraction(5, 2)
    )
    assert processor.encode_video(video_path).features["color"].shape == (4, 3)
