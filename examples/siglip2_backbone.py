"""SigLIP 2 as a backbone of one's own, by the public interface alone.

videolights extract videos/ features/ --backbone siglip2 --backbone-module examples/siglip2_backbone.py
"""

from transformers import SiglipImageProcessorPil, SiglipModel

from videolights_hf.backbones import ImageTextBackbone, register_backbone


@register_backbone
class Siglip2Backbone(ImageTextBackbone):
    """The pooled embedding of a clip's frame, and the last hidden state of every token."""

    name = "siglip2"
    default_checkpoint = "google/siglip2-base-patch16-224"
    # SigLIP 2 of a fixed picture size has SigLIP's architecture; Siglip2Model is for its NaFlex variants.
    model_class = SiglipModel
    image_processor_class = SiglipImageProcessorPil

    def __init__(self, model, tokenizer, image_processor=None, batch_size=64):
        super().__init__(model, tokenizer, image_processor, batch_size)
        self.video_dim = model.vision_model.config.hidden_size
        self.text_dim = model.text_model.config.hidden_size
        self.max_text_length = model.text_model.config.max_position_embeddings

    @classmethod
    def default_image_processor(cls, size):
        """The processor of a checkpoint that has none."""
        return SiglipImageProcessorPil(size={"height": size, "width": size})

    def image_features(self, pixels):
        """(B, video_dim) of normalized pixels."""
        return self.model.get_image_features(pixels.to(self.model.dtype)).pooler_output

    def prepare_sentence(self, sentence):
        """SigLIP 2 was trained on lower case, which the tokenizer of its checkpoints does not see to."""
        return sentence.lower()

    def tokenize(self, sentences):
        """Tokens, always as many as the text encoder takes: SigLIP 2 was trained with the padding in view."""
        return self.tokenizer(
            sentences,
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=self.max_text_length,
            return_attention_mask=True,
            return_tensors="pt",
        )

    def token_features(self, tokens):
        """(B, N, text_dim); of the padding nothing is kept."""
        return self.model.text_model(input_ids=tokens["input_ids"]).last_hidden_state
