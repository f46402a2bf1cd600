from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from examples.train_demo_captioner import (
    build_config,
    build_processor,
    caption_losses,
    main,
    names_rightly,
)
from videolights_hf.demo import Query, SceneKind, all_kinds

KIND = SceneKind("red", "star", "dots")


@pytest.fixture(scope="module")
def processor() -> BlipProcessor:
    return build_processor()


def test_captioner_is_saved_so_that_transformers_loads_and_runs_it(monkeypatch, tmp_path):
    monkeypatch.setattr("examples.train_demo_captioner.all_kinds", lambda: all_kinds()[:4])
    main(tmp_path, steps=1, batch_size=2, scenes_per_kind=1, held_out_scenes_per_kind=1)
    processor = BlipProcessor.from_pretrained(tmp_path)
    model, loading = BlipForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"]
    frame = np.zeros((128, 128, 3), dtype=np.uint8)
    written = model.generate(**processor(images=frame, return_tensors="pt"), max_new_tokens=5)
    assert written[0, 0] == processor.tokenizer.convert_tokens_to_ids("[DEC]")
    assert "[DEC]" not in processor.decode(written[0], skip_special_tokens=True)


def test_tokenizer_knows_every_sentence_of_the_world(processor):
    tokenizer, rng = processor.tokenizer, np.random.default_rng(1)
    for kind in all_kinds():
        sentence = Query(*astuple(kind)).sentence(rng)
        ids = tokenizer(sentence).input_ids
        assert tokenizer.unk_token_id not in ids
        assert len(ids) <= tokenizer.model_max_length
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        assert decoded.replace(" ", "") == sentence.lower().replace(" ", "")


def test_tokenizer_numbers_words_alike_in_every_run(processor):
    words = processor.tokenizer.convert_ids_to_tokens(range(6, len(processor.tokenizer)))
    assert words == sorted(words)


def test_caption_loss_does_not_count_padding(processor, monkeypatch):
    model = BlipForConditionalGeneration(build_config(processor.tokenizer)).eval()
    frames = {KIND: np.zeros((1, 64, 64, 3), dtype=np.uint8)}
    sentences = ["a red star", "a red star moves over polka dots."]

    def loss_of(*batch: str) -> float:
        texts = iter(batch)
        monkeypatch.setattr(Query, "sentence", lambda self, rng: next(texts))
        with torch.no_grad():
            return next(caption_losses(model, processor, frames, len(batch), np.random.default_rng(0))).item()

    num_predicted = [len(processor.tokenizer(sentence).input_ids) - 1 for sentence in sentences]
    alone = [loss_of(sentence) for sentence in sentences]
    assert loss_of(*sentences) == pytest.approx(np.average(alone, weights=num_predicted), rel=1e-5)


@pytest.mark.parametrize(
    ("caption", "right"),
    [
        ("a red star moves over polka dots.", {"color", "shape", "background", "color and shape", "all three"}),
        ("A red star.", {"color", "shape", "color and shape"}),
        ("a red heart on a dotted background", {"color", "background"}),
        ("a red green star on bricks", {"shape"}),
        ("a star on stripes and polka dots", {"shape"}),
    ],
)
def test_a_caption_is_right_in_what_it_names_alone(caption, right):
    assert {name for name, is_right in names_rightly(caption, KIND).items() if is_right} == right
