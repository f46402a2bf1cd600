import time

import pytest

from videolights_hf.visualization.text import MISSING, drawable_text, fit_text, font_families, text_width


def fit(text, width=3.0, **settings):
    return fit_text(text, width, 11.0, "bold", **settings)


def test_words_go_to_lines_that_fit():
    fitted = fit("the red star glides past a brick wall")
    assert " ".join(fitted.lines) == "the red star glides past a brick wall"
    assert len(fitted.lines) > 1
    assert all(text_width(line, 11.0, "bold") <= 72 * 3 for line in fitted.lines)


def test_a_word_that_is_too_wide_is_broken():
    fitted = fit("W" * 40)
    assert "".join(fitted.lines) == "W" * 40
    assert all(text_width(line, 11.0, "bold") <= 72 * 3 for line in fitted.lines)


def test_widths_are_those_that_matplotlib_draws():
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    text = "A dog runs on the beach, 00:12–00:20"
    drawn = TextPath((0, 0), text, prop=FontProperties(size=11, weight="bold")).get_extents().width
    assert text_width(text, 11.0, "bold") == pytest.approx(drawn, rel=0.02)


@pytest.mark.parametrize("text", ["word " * 5000, "\N{GRINNING FACE}" * 1000, "x" * 100_000])
def test_long_texts_are_cut_in_no_time(text):
    fit("warm up")
    start = time.process_time()
    fitted = fit(text)
    assert time.process_time() - start < 1
    assert len(fitted.lines) == 4
    assert fitted.lines[-1].endswith("…")


def test_characters_that_no_font_has_are_replaced_and_said(monkeypatch):
    # Of a private use area, where no font here has anything.
    fitted = fit("a \U00102345 b")
    assert fitted.lines == [f"a {MISSING} b"]
    assert fitted.has_missing
    assert not fit(f"a {MISSING} b").has_missing


@pytest.mark.parametrize("text", ["a\ud800b", "a\udcff\udcfeb"])
def test_surrogates_are_replaced(text):
    assert drawable_text(text).replace(MISSING, "") == "ab"
    assert MISSING in drawable_text(text)


def test_control_characters_are_left_out_and_tabs_are_spaces():
    assert drawable_text("a\x00\x1bb\tc\nd") == "ab c d"


def test_dollars_stay():
    assert fit("costs $5 and $6").lines == ["costs $5 and $6"]


def test_nothing_has_no_lines():
    assert fit("").lines == []


def test_only_installed_fonts_are_drawn_with():
    from matplotlib.font_manager import fontManager

    assert set(font_families()) <= {font.name for font in fontManager.ttflist}
    assert "DejaVu Sans" in font_families()
