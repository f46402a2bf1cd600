"""What pages say beside their code blocks, held against the package."""

import re

import pytest

from tests.support.warm import ROOT
from videolights_hf.inference.windows import plan_windows
from videolights_hf.training import list_recipes
from videolights_hf.training.recipe_fields import SECTIONS, fields_of

MIGRATION = ("from-moment-detr.md", "from-lighthouse.md")


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_the_worked_example_is_the_tested_file():
    shown = re.search(r"```python\n# siglip2_backbone\.py\n(.*?)```", read("own-backbone.md"), re.DOTALL)
    source = (ROOT / "examples" / "siglip2_backbone.py").read_text(encoding="utf-8")
    assert shown is not None
    assert source.split('"""\n', 1)[-1].strip() == shown[1].strip()


@pytest.mark.parametrize("page", MIGRATION)
def test_every_recipe_that_is_named_exists(page):
    named = set(re.findall(r"--recipe ([\w/-]+)", read(page)))
    assert len(named) >= 3
    assert named <= set(list_recipes())


def test_every_setting_beside_a_flag_exists():
    table = read("from-moment-detr.md").split("| `config.py` | here |")[1].split("\n\n")[0]
    known = {name for section in SECTIONS for name in fields_of(section)}
    named = {word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert len(named) > 30
    assert named <= known


def test_an_hour_has_as_many_windows_as_the_page_says():
    assert f"An hour has {len(plan_windows(1800, 2.0, 3600.0, 75))} windows" in read("long-videos.md")
