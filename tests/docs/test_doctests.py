"""The `>>>` examples of the docstrings run, on the bundled demo checkpoint or on tiny data."""

import doctest
import importlib
import importlib.util
import pkgutil
import re

import pytest

import videolights_hf


class FencedParser(doctest.DocTestParser):
    """Reads examples between code fences, which are not part of the output."""

    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"(?m)^ *```\w*$", "", string), name)


def modules_with_examples():
    names = [module.name for module in pkgutil.walk_packages(videolights_hf.__path__, "videolights_hf.")]
    return [
        name
        for name in names
        if not name.endswith("__main__") and ">>> " in importlib.util.find_spec(name).loader.get_source(name)
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of_docstrings(name, folder, given):
    given.copy_named(importlib.util.find_spec(name).loader.get_source(name), folder)
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(parser=FencedParser())
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in finder.find(module, name):
        runner.run(test)
    assert runner.summarize(verbose=False) == (0, runner.tries)
    assert runner.tries > 0
