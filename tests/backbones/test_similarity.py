import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel

from tests.support.tiny_backbones import make_tiny_clip, make_tiny_tokenizer, save_tiny_siglip
from videolights_hf.backbones.similarity import SimilarityBackbone

SENTENCES = ["a red ball", "a dog that runs"]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "siglip":
        return save_tiny_siglip(folder)
    make_tiny_clip().save_pretrained(folder)
    return folder


def test_clips_and_sentences_are_the_embeddings_that_the_model_compares(checkpoint):
    backbone = SimilarityBackbone.from_pretrained(checkpoint)
    frames = np.random.default_rng(0).integers(
        0, 256, (3, backbone.frame_size, backbone.frame_size, 3), dtype=np.uint8
    )
    video, text = backbone.encode_frames(frames), backbone.encode_text(SENTENCES)
    assert video.shape == (3, backbone.video_dim)
    assert [embedding.shape for embedding in text] == [(1, backbone.text_dim)] * 2

    model = AutoModel.from_pretrained(checkpoint).eval()
    tokens = backbone.tokenize(SENTENCES)
    pixels = backbone.image_processor(list(frames), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = model(pixel_values=pixels, **tokens).logits_per_image
    video, sentences = (
        array / np.linalg.norm(array, axis=-1, keepdims=True) for array in (video, np.concatenate(text))
    )
    bias = getattr(model, "logit_bias", torch.zeros(1)).item()
    np.testing.assert_allclose(backbone.scale * video @ sentences.T + bias, logits, atol=1e-3)


def test_a_sentence_does_not_depend_on_the_others(checkpoint):
    backbone = SimilarityBackbone.from_pretrained(checkpoint)
    together = backbone.encode_text(SENTENCES)
    for sentence, embedding in zip(SENTENCES, together, strict=True):
        np.testing.assert_allclose(backbone.encode_text([sentence])[0], embedding, atol=1e-5)


def test_it_is_saved_and_loaded(checkpoint, tmp_path):
    backbone = SimilarityBackbone.from_pretrained(checkpoint)
    backbone.save_pretrained(tmp_path)
    again = SimilarityBackbone.from_pretrained(tmp_path)
    np.testing.assert_allclose(again.encode_text(SENTENCES)[0], backbone.encode_text(SENTENCES)[0], atol=1e-6)


def test_a_model_that_compares_nothing_is_refused():
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    with pytest.raises(ValueError, match="BertModel does not compare pictures with sentences"):
        SimilarityBackbone(BertModel(BertConfig(**shape)), make_tiny_tokenizer())


def test_a_tokenizer_without_a_length_is_refused():
    clip = make_tiny_clip()
    clip.tokenizer.model_max_length = [None]
    with pytest.raises(ValueError, match=r"model_max_length.*\[None\].*tokenizer_config\.json"):
        SimilarityBackbone(clip.model, clip.tokenizer)
