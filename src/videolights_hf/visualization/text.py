"""User text in pictures: any characters, of any length, drawn as written.

Sentences may hold `$`, Chinese, emoji, and even invalid text. Text is measured by the advance widths of
its characters, which takes time in proportion to its length, and characters that no installed font has are replaced.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

# Fonts to draw with, where they are installed. matplotlib brings the first one.
FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans CJK KR",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Yu Gothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Noto Sans",
    "Noto Emoji",
    "Segoe UI Emoji",
    "Segoe UI Symbol",
    "Symbola",
)
MISSING = "□"
MISSING_NOTE = f"{MISSING} stands for characters that no installed font has; Noto Sans CJK and Noto Emoji have most."
ELLIPSIS = "…"
# Longer texts are cut before they are looked at: no title shows more.
_MAX_CHARACTERS = 2000


@dataclass(frozen=True)
class FittedText:
    """A text broken into lines, and whether characters of it could not be drawn."""

    lines: list[str]
    has_missing: bool


def fit_text(text: str, width: float, size: float, weight: str = "normal", max_lines: int = 4) -> FittedText:
    """Break a text into lines; a word that is too wide is broken as well.

    Args:
        text: Any text.
        width: Width of a line in inches.
        size: Size of the font in points.
        weight: Weight of the font.
        max_lines: Cut the text after this many lines, with an ellipsis.
    """
    cut = text[:_MAX_CHARACTERS]
    drawable = drawable_text(cut)
    # Hinting makes drawn characters a little wider than they should be.
    room = 0.98 * 72 * width - text_width(ELLIPSIS, size, weight)
    lines, used = [""], 0.0
    for word in drawable.split():
        pieces = [word] if text_width(word, size, weight) <= room else list(word)
        for index, piece in enumerate(pieces):
            space = " " if index == 0 and lines[-1] else ""
            added = text_width(space + piece, size, weight)
            if lines[-1] and used + added > room:
                lines.append("")
                space, used, added = "", 0.0, text_width(piece, size, weight)
            lines[-1] += space + piece
            used += added
    lines = [line for line in lines if line]
    if len(lines) > max_lines or len(cut) < len(text):
        lines = lines[:max_lines]
        lines[-1] += ELLIPSIS
    return FittedText(lines, MISSING in drawable and MISSING not in cut)


def drawable_text(text: str) -> str:
    """The text with every character that no installed font has replaced, and invisible ones of these left out."""
    return "".join(_drawable(character) for character in text)


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text in points."""
    return size * sum(_advance(character, weight) for character in text)


def font_families() -> list[str]:
    """Names of the fonts to draw with, for the `family` of a text."""
    return list(_fonts("normal"))


@lru_cache(maxsize=4096)
def _drawable(character: str) -> str:
    if character.isspace():
        return " "
    if any(font.get_char_index(ord(character)) for font in _fonts("normal").values()):
        return character
    return "" if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc") else MISSING


@lru_cache(maxsize=4096)
def _advance(character: str, weight: str) -> float:
    """Advance width of a character at size 1."""
    for font in _fonts(weight).values():
        if font.get_char_index(ord(character)):
            return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100
    return 1.0


@lru_cache(maxsize=2)
def _fonts(weight: str) -> dict[str, FT2Font]:
    """The installed fonts, by name, at 100 points."""
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    fonts = {}
    for family in FAMILIES:
        try:
            path = str(findfont(FontProperties(family=family, weight=weight), fallback_to_default=False))
        except ValueError:
            continue
        # Not the one that matplotlib draws with, which changes its size.
        font = FT2Font(path)
        font.set_size(100, 72)
        fonts[family] = font
    return fonts


__all__ = [
    "FAMILIES",
    "MISSING",
    "MISSING_NOTE",
    "FittedText",
    "drawable_text",
    "fit_text",
    "font_families",
    "text_width",
]
