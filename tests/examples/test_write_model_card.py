import re
from pathlib import Path

from huggingface_hub import ModelCard

from examples.write_model_card import main

CARD = Path(__file__).parents[2] / "MODEL_CARD.md"


def test_the_card_of_the_bundled_checkpoint_is_what_the_script_writes(tmp_path):
    main(tmp_path / "card.md")
    assert CARD.read_text() == (tmp_path / "card.md").read_text()
    assert ModelCard.load(CARD).data.license == "apache-2.0"


def test_its_example_runs_as_it_stands(capsys):
    exec(re.search(r"```python\n(.*?)```", CARD.read_text(), re.DOTALL)[1], {})
    assert "'start'" in capsys.readouterr().out
