"""A backbone that a user adds: SigLIP, by the public interface alone. `--backbone-module` takes this file."""

from transformers import SiglipImageProcessorPil, SiglipModel

from videolights_hf.backbones import ImageTextBackbone, register_backbone


@register_backbone
class SiglipBackbone(ImageTextBackbone):
    name = "siglip"
    default_checkpoint = "google/siglip-base-patch16-224"
    model_class = SiglipModel
    image_processor_class = SiglipImageProcessorPil

    def __init__(self, model, tokenizer, image_processor=None, batch_size=64):
        super().__init__(model, tokenizer, image_processor, batch_size)
        self.video_dim = self.text_dim = model.text_model.config.hidden_size
        self.max_text_length = model.text_model.config.max_position_embeddings

    @classmethod
    def default_image_processor(cls, size):
        return SiglipImageProcessorPil(size={"height": size, "width": size})

    def image_features(self, pixels):
        return self.model.get_image_features(pixels.to(self.model.dtype)).pooler_output

    def tokenize(self, sentences):
        settings = {"padding": "max_length", "truncation": True, "max_length": self.max_text_length}
        return self.tokenizer(sentences, **settings, return_attention_mask=True, return_tensors="pt")

    def token_features(self, tokens):
        # SigLIP was trained with padding in view.
        return self.model.text_model(input_ids=tokens["input_ids"]).last_hidden_state
