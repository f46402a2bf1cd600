"""The text of a model card, and of the programs in it."""

TEMPLATE = """\
---
{{ card_data }}
---

# {{ title }}

{{ summary }}

| | |
|---|---|
{%- for name, value in properties %}
| {{ name }} | {{ value }} |
{%- endfor %}

## How to use

```python
{{ example }}
```
{% if "trust_remote_code" in example %}
With `videolights_hf` installed, `trust_remote_code` is not needed.
{% endif %}
## Training

{% if training -%}
{% for line in training -%}
- {{ line }}
{% endfor %}
{%- if changed %}
Settings that differ from the recipe:

| setting | value |
|---|---|
{%- for name, value in changed %}
| `{{ name }}` | `{{ value }}` |
{%- endfor %}
{% endif %}
{%- else -%}
How these weights were trained was not recorded with them.
{% endif %}
## Results

{% if results -%}
{{ results_heading }}

| metric | value |
|---|---|
{%- for result in results %}
| {{ result.name }} | {{ "%.2f" | format(result.value) }} |
{%- endfor %}
{% if details %}
Every metric in detail: [`{{ details }}`](./{{ details }}).
{% endif %}
{%- else -%}
No evaluation was recorded with these weights.
{% endif %}
## Intended use

Search inside videos by text, previews, highlight reels, and research on temporal grounding. A prediction is a suggestion
for a person to look at; scores are not calibrated probabilities. The model is not meant to identify or monitor people, or
to decide anything about them.

## Limits

{% for limit in limits -%}
- {{ limit }}
{% endfor %}
## Licenses

{% for name, value in licenses -%}
- {{ name }}: {{ value }}
{% endfor %}
## Citation

```bibtex
@article{paul2024videolights,
  title = {VideoLights: Feature Refinement and Cross-Task Alignment Transformer for Joint Video Highlight Detection and Moment Retrieval},
  author = {Paul, Dhiman and Parvez, Md Rizwan and Mohammed, Nabeel and Rahman, Shafin},
  journal = {arXiv preprint arXiv:2412.01558},
  year = {2024}
}
```
"""


VIDEO_EXAMPLE = """\
import numpy as np
from transformers import pipeline

finder = pipeline("{task}", model="{repo_id}", trust_remote_code=True)
# Ten seconds of gray; give the path of a video instead.
video = np.full((20, 224, 224, 3), 128, dtype=np.uint8)
result = finder(video, "a dog runs on the beach", fps=2.0)
print(result["moments"], result["saliency"])"""

FEATURES_EXAMPLE = """\
import torch
from transformers import AutoModel

model = AutoModel.from_pretrained("{repo_id}", trust_remote_code=True)
# Noise; give the features of a video's clips and of a sentence's words instead.
outputs = model({arguments}
)
print(outputs.logits.softmax(-1)[0, :, 0], outputs.pred_spans[0], outputs.saliency_scores[0])"""
