import json
import shutil

import numpy as np
import pytest
import torch
from transformers import BlipForConditionalGeneration, CLIPImageProcessorPil, GitConfig, GitForCausalLM, GitProcessor

from tests.support.tiny_backbones import make_tiny_clip
from tests.support.tiny_captioners import (
    make_tokenizer,
    save_blip,
    save_blip2_captioner,
    save_blip_captioner,
    save_blip_retrieval,
    with_lively_weights,
)
from videolights_hf.corpus import Captioner

FRAMES = [np.full((40, 60, 3), level, np.uint8) for level in (0, 120, 255)]


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return save_blip_captioner(tmp_path_factory.mktemp("blip"))


def save_git(folder):
    """A GIT of random weights: a decoder that gets no words unless there is a prompt."""
    tokenizer = make_tokenizer("[CLS]")
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GitConfig(
        vision_config={**shape, "image_size": 32, "patch_size": 16},
        **shape,
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with_lively_weights(GitForCausalLM(config), 0).save_pretrained(folder)
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    GitProcessor(image_processor, tokenizer).save_pretrained(folder)
    return folder


class ScriptedModel:
    """Stands for `generate` alone: gives token ids that a test chose."""

    def __init__(self, captioner, ids):
        self.captioner, self.ids = captioner, ids

    def __enter__(self):
        self.captioner.model.generate = lambda **inputs: torch.tensor(self.ids)

    def __exit__(self, *_):
        del self.captioner.model.generate


@pytest.mark.parametrize("save", [save_blip_captioner, save_blip2_captioner, save_git])
def test_any_model_gives_a_line_of_plain_words_for_each_frame(tmp_path, save):
    sampling = {"do_sample": True, "num_beams": 1, "max_new_tokens": 6}
    captioner = Captioner.from_pretrained(save(tmp_path), generation=sampling)
    torch.manual_seed(0)
    captions = captioner.caption(FRAMES)
    assert len(captions) == 3
    assert any(captions)
    assert not any(mark in caption for caption in captions for mark in "[<>]\n")


@pytest.mark.parametrize("save", [save_blip_captioner, save_blip2_captioner])
def test_a_prompt_is_continued_and_no_part_of_the_caption(tmp_path, save):
    options = {"prompt": "the red star", "generation": {"max_new_tokens": 2, "min_new_tokens": 2, "num_beams": 1}}
    captioner = Captioner.from_pretrained(save(tmp_path), **options)
    captions = captioner.caption(FRAMES)
    assert all(len(caption.split()) <= 2 for caption in captions)
    given = []
    generate = captioner.model.generate
    captioner.model.generate = lambda **inputs: given.append(inputs["input_ids"].clone()) or generate(**inputs)
    assert captioner.caption(FRAMES) == captions
    assert "the red star" in captioner.processor.tokenizer.decode(given[0][0])


def test_captions_are_those_of_the_model_itself(blip):
    captioner = Captioner.from_pretrained(blip, generation={"num_beams": 1, "max_new_tokens": 5}, batch_size=2)
    model = BlipForConditionalGeneration.from_pretrained(blip)
    pixels = captioner.processor(images=FRAMES, return_tensors="pt")
    written = model.generate(**pixels, num_beams=1, max_new_tokens=5, do_sample=False)
    assert captioner.caption(FRAMES) == captioner.processor.batch_decode(written, skip_special_tokens=True)


def test_marks_are_left_out_even_if_the_tokenizer_takes_them_for_words(blip):
    captioner = Captioner.from_pretrained(blip)
    ids = captioner.processor.tokenizer.convert_tokens_to_ids
    captioner.model.config.text_config.bos_token_id = ids("over")
    with ScriptedModel(captioner, [[ids("over"), ids("a"), ids("star"), ids("[SEP]"), ids("[PAD]")]]):
        assert captioner.caption(FRAMES[:1]) == ["a star"]


def test_a_model_may_have_nothing_to_say(blip):
    captioner = Captioner.from_pretrained(blip)
    ids = captioner.processor.tokenizer.convert_tokens_to_ids
    with ScriptedModel(captioner, [[ids("[DEC]"), ids("[SEP]")]]):
        assert captioner.caption(FRAMES[:1]) == [""]


def test_a_chat_model_is_asked(blip):
    captioner = Captioner.from_pretrained(blip, batch_size=2)
    asked = []

    class ChatProcessor:
        chat_template = "{{ messages }}"
        tokenizer = captioner.processor.tokenizer

        def apply_chat_template(self, chats, **options):
            asked.extend(chats)
            assert options["add_generation_prompt"]
            assert options["padding_side"] == "left"
            return {"input_ids": torch.tensor([[2, 5, 6]] * len(chats))}

    captioner.processor = ChatProcessor()
    with ScriptedModel(captioner, [[2, 5, 6, 7, 3]] * 2):
        assert captioner.caption(FRAMES[:2]) == [captioner.processor.tokenizer.decode([7])] * 2
    assert [content["type"] for content in asked[0][0]["content"]] == ["image", "text"]
    assert asked[0][0]["content"][1]["text"].startswith("Describe")


class TestMemory:
    def test_a_batch_that_does_not_fit_is_halved_and_all_frames_are_captioned(self, blip):
        captioner = Captioner.from_pretrained(blip, batch_size=8)
        sizes = []
        whole = captioner._caption_batch

        def small(frames):
            sizes.append(len(frames))
            if len(frames) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return whole(frames)

        captioner._caption_batch = small
        with pytest.warns(UserWarning, match=r"ran out of memory \(.*\): the captioner continues with batches of"):
            captions = captioner.caption(FRAMES + FRAMES[:2])
        assert len(captions) == 5
        assert sizes == [5, 4, 2, 2, 1]
        assert captioner.batch_size == 2

    def test_a_single_frame_that_does_not_fit_is_an_error(self, blip):
        captioner = Captioner.from_pretrained(blip, batch_size=1)

        def none(frames):
            raise torch.OutOfMemoryError("CUDA out of memory")

        captioner._caption_batch = none
        with pytest.raises(torch.OutOfMemoryError):
            captioner.caption(FRAMES)


class TestLoading:
    def test_half_precision_captions_too(self, blip):
        captioner = Captioner.from_pretrained(blip, dtype=torch.bfloat16)
        assert len(captioner.caption(FRAMES)) == 3
        assert captioner.identity["dtype"] == "bfloat16"

    def test_identity_tells_weights_and_settings_but_not_folders_apart(self, blip, tmp_path):
        first = Captioner.from_pretrained(blip).identity
        again = Captioner.from_pretrained(save_blip_captioner(tmp_path / "again")).identity
        other = Captioner.from_pretrained(save_blip_captioner(tmp_path / "other", seed=5)).identity
        assert first["weights"] == again["weights"] != other["weights"]
        assert Captioner.from_pretrained(blip, prompt="a", generation={"num_beams": 2}).identity["generation"] == {
            "max_new_tokens": 30,
            "num_beams": 2,
            "do_sample": False,
        }

    def test_a_model_that_writes_nothing_is_refused(self, tmp_path):
        make_tiny_clip().save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="a model of the type 'clip', which cannot write captions"):
            Captioner.from_pretrained(tmp_path)

    def test_a_checkpoint_of_another_task_is_refused_and_not_filled_up_at_random(self, tmp_path):
        with pytest.raises(OSError, match=r"The captioner .* lacks .* weights .* of BlipForConditionalGeneration"):
            Captioner.from_pretrained(save_blip_retrieval(tmp_path))

    def test_what_is_missing_or_damaged_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no folder /nowhere/captioner"):
            Captioner.from_pretrained("/nowhere/captioner")
        weights = save_blip_captioner(tmp_path) / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(OSError, match=r"The captioner .* cannot be loaded.*repeat the command"):
            Captioner.from_pretrained(tmp_path)

    def test_an_interrupted_download_is_one_clear_error(self, monkeypatch):
        def broken(*_, **__):
            raise OSError("Connection reset by peer")

        monkeypatch.setattr("videolights_hf.corpus.models.AutoConfig.from_pretrained", broken)
        with pytest.raises(OSError, match="The captioner some/model cannot be loaded: Connection reset by peer"):
            Captioner.from_pretrained("some/model")

    def test_an_argument_of_generate_that_does_not_exist_is_answered_with_the_nearest(self, blip):
        with pytest.raises(ValueError, match="Did you mean 'num_beams'"):
            Captioner.from_pretrained(blip, generation={"num_beems": 3})

    @pytest.mark.parametrize(
        "generation",
        [
            {"num_beams": 0},
            {"num_beams": "three"},
            {"max_new_tokens": -1},
            {"num_return_sequences": 2},
            {"return_dict_in_generate": True},
        ],
    )
    def test_values_of_generate_that_give_no_caption_per_frame_are_named(self, blip, generation):
        captioner = Captioner.from_pretrained(blip, generation=generation)
        with pytest.raises(ValueError, match=next(iter(generation))):
            captioner.caption(FRAMES)

    def test_processor_files_of_older_checkpoints_are_read(self, tmp_path):
        folder = save_blip(tmp_path, BlipForConditionalGeneration)
        (folder / "processor_config.json").unlink()
        Captioner.from_pretrained(save_blip_captioner(tmp_path / "b")).processor.image_processor.save_pretrained(
            folder
        )
        assert (folder / "preprocessor_config.json").is_file()
        assert len(Captioner.from_pretrained(folder).caption(FRAMES)) == 3


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_damaged_files_of_the_processor_are_one_error_that_names_the_captioner(blip, tmp_path):
    unreadable = shutil.copytree(blip, tmp_path / "unreadable")
    change(unreadable / "tokenizer.json", post_processor=3)
    with pytest.raises(OSError, match=r"The captioner .*/unreadable cannot be loaded: "):
        Captioner.from_pretrained(unreadable)
    unusable = shutil.copytree(blip, tmp_path / "unusable")
    change(unusable / "tokenizer_config.json", model_max_length="long")
    with pytest.raises(ValueError, match=r"The captioner .*/unusable cannot be used \(TypeError: "):
        Captioner.from_pretrained(unusable, prompt="a").caption(FRAMES)
