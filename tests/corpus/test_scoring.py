import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import Blip2ForImageTextRetrieval, BlipForImageTextRetrieval

from tests.support.tiny_backbones import make_tiny_clip
from tests.support.tiny_captioners import save_blip2_retrieval, save_blip_captioner, save_blip_retrieval
from videolights_hf.corpus import MatchingScorer, SimilarityScorer, get_scorer_class

GENERATOR = np.random.default_rng(0)
FRAMES = [GENERATOR.integers(0, 256, (40, 60, 3), np.uint8) for _ in range(3)]
CAPTIONS = ["a red circle", "star", "the blue square moves over dots"]


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return save_blip_retrieval(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def blip2(tmp_path_factory):
    return save_blip2_retrieval(tmp_path_factory.mktemp("blip2"))


def inputs_of(scorer, frame, caption):
    pixels = scorer.processor.image_processor([frame], return_tensors="pt")["pixel_values"]
    text = scorer.processor.tokenizer([caption], return_tensors="pt", return_token_type_ids=False)
    return {"pixel_values": pixels, **text}


class TestMatching:
    def test_of_blip_is_the_probability_of_its_head(self, blip):
        scorer = MatchingScorer.from_pretrained(blip)
        model = BlipForImageTextRetrieval.from_pretrained(blip)
        with torch.inference_mode():
            expected = [
                model(**inputs_of(scorer, frame, caption)).itm_score.softmax(dim=1)[0, 1].item()
                for frame, caption in zip(FRAMES, CAPTIONS, strict=True)
            ]
        assert scorer.score(FRAMES, CAPTIONS) == pytest.approx(expected, abs=1e-5)
        assert len(set(expected)) == 3

    def test_captions_are_cleaned_and_cut_as_in_the_release(self, blip):
        scorer = MatchingScorer.from_pretrained(blip)
        plain = "a red circle moves over the blue square"
        odd = 'A RED circle  (moves) over: the blue~square!"'
        first, second = scorer.score(FRAMES[:1] * 2, [plain, odd])
        assert first == pytest.approx(second, abs=1e-6)
        longest = " ".join(["red"] * 33)  # 35 tokens with the marks at both ends
        first, second, shorter = scorer.score(FRAMES[:1] * 3, [longest, f"{longest} star", longest[:-4]])
        assert first == pytest.approx(second, abs=1e-6)
        assert first != pytest.approx(shorter, abs=1e-6)

    def test_of_blip2_is_the_probability_of_its_head(self, blip2):
        scorer = MatchingScorer.from_pretrained(blip2, batch_size=2)
        model = Blip2ForImageTextRetrieval.from_pretrained(blip2)
        with torch.inference_mode():
            expected = [
                model(**inputs_of(scorer, frame, caption), use_image_text_matching_head=True)
                .logits_per_image.softmax(dim=1)[0, 1]
                .item()
                for frame, caption in zip(FRAMES, CAPTIONS, strict=True)
            ]
        assert scorer.score(FRAMES, CAPTIONS) == pytest.approx(expected, abs=1e-5)

    def test_needs_a_model_with_a_matching_head(self, tmp_path):
        make_tiny_clip().save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="a CLIPModel, which has no matching head: score by similarity"):
            MatchingScorer.from_pretrained(tmp_path)


class TestSimilarity:
    def test_of_blip_is_the_cosine_of_its_projections(self, blip):
        scorer = SimilarityScorer.from_pretrained(blip)
        model = BlipForImageTextRetrieval.from_pretrained(blip)
        with torch.inference_mode():
            expected = [
                model(**inputs_of(scorer, frame, caption), use_itm_head=False).itm_score.item()
                for frame, caption in zip(FRAMES, CAPTIONS, strict=True)
            ]
        assert scorer.score(FRAMES, CAPTIONS) == pytest.approx(expected, abs=1e-5)

    def test_of_blip2_is_the_cosine_with_the_nearest_query_token(self, blip2):
        scorer = SimilarityScorer.from_pretrained(blip2)
        model = Blip2ForImageTextRetrieval.from_pretrained(blip2)
        with torch.inference_mode():
            outputs = [model(**inputs_of(scorer, *pair)) for pair in zip(FRAMES, CAPTIONS, strict=True)]
            expected = [
                F.cosine_similarity(output.image_embeds[0], output.text_embeds, dim=-1).max().item()
                for output in outputs
            ]
        assert scorer.score(FRAMES, CAPTIONS) == pytest.approx(expected, abs=1e-5)

    def test_of_clip_is_the_cosine_of_its_embeddings(self, tmp_path):
        backbone = make_tiny_clip()
        backbone.save_pretrained(tmp_path)
        scorer = SimilarityScorer.from_pretrained(tmp_path)
        with torch.inference_mode():
            expected = []
            for frame, caption in zip(FRAMES, CAPTIONS, strict=True):
                outputs = backbone.model(**inputs_of(scorer, frame, caption))
                expected.append(F.cosine_similarity(outputs.image_embeds, outputs.text_embeds).item())
        assert scorer.score(FRAMES, CAPTIONS) == pytest.approx(expected, abs=1e-5)

    def test_needs_a_model_that_embeds_both(self, tmp_path):
        from transformers import BertConfig, BertModel

        folder = save_blip_retrieval(tmp_path)
        BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)).save_pretrained(
            folder
        )
        with pytest.raises(ValueError, match="a BertModel, which embeds no pictures and sentences together"):
            SimilarityScorer.from_pretrained(folder)


@pytest.mark.parametrize("scorer_class", [MatchingScorer, SimilarityScorer])
class TestBoth:
    def test_both_kinds_of_blip2_checkpoints_score_alike(self, scorer_class, blip2, tmp_path):
        with_places = scorer_class.from_pretrained(save_blip2_retrieval(tmp_path, with_places=True))
        without = scorer_class.from_pretrained(blip2)
        assert with_places.score(FRAMES, CAPTIONS) == pytest.approx(without.score(FRAMES, CAPTIONS), abs=1e-6)

    def test_longer_captions_beside_it_do_not_change_a_score(self, scorer_class, blip, blip2):
        for folder in (blip, blip2):
            scorer = scorer_class.from_pretrained(folder)
            together = scorer.score(FRAMES, CAPTIONS)
            alone = [scorer.score([frame], [caption])[0] for frame, caption in zip(FRAMES, CAPTIONS, strict=True)]
            assert together == pytest.approx(alone, abs=1e-5)

    def test_a_caption_longer_than_the_model_reads_is_cut(self, scorer_class, blip, blip2):
        for folder in (blip, blip2):
            assert len(scorer_class.from_pretrained(folder).score(FRAMES[:1], ["red star " * 100])) == 1

    def test_half_precision_scores_too(self, scorer_class, blip):
        (score,) = scorer_class.from_pretrained(blip, dtype=torch.bfloat16).score(FRAMES[:1], CAPTIONS[:1])
        (expected,) = scorer_class.from_pretrained(blip).score(FRAMES[:1], CAPTIONS[:1])
        assert score == pytest.approx(expected, abs=0.05)

    def test_frames_and_captions_must_be_pairs(self, scorer_class, blip):
        with pytest.raises(ValueError, match="3 frames and 2 captions do not pair up"):
            scorer_class.from_pretrained(blip).score(FRAMES, CAPTIONS[:2])

    def test_a_captioner_is_no_scorer(self, scorer_class, tmp_path):
        with pytest.raises(OSError, match=r"The scorer .* lacks 62 weights .* of BlipForImageTextRetrieval"):
            scorer_class.from_pretrained(save_blip_captioner(tmp_path))


def test_unknown_kind_of_score_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'matching'"):
        get_scorer_class("match")
