"""Text of any language in a PDF: each character in a font that has it, or as its number in brackets.

Latin, Greek, Cyrillic and symbols are set in DejaVu Sans, which the PDF carries; Chinese, Japanese and Korean in a font
that PDF viewers bring along. All others, such as emoji and scripts written from right to left, stand as ``[U+05D0]``.
"""

import functools
import itertools
import unicodedata
from pathlib import Path
from xml.sax.saxutils import escape

FONT = "DejaVuSans"
FONT_FILE = Path(__file__).parents[2] / "data" / "fonts" / "DejaVuSans.ttf"
VIEWERS_FONTS = {  # reportlab's name -> the characters that it has
    "HYSMyeongJo-Medium": "cp949",
    "HeiseiMin-W3": "shift_jis",
    "STSong-Light": "gbk",
    "MSung-Light": "big5",
}


@functools.cache
def register_fonts() -> frozenset[int]:
    """Make the fonts known to reportlab; return the characters that DejaVu Sans has."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont

    font = TTFont(FONT, str(FONT_FILE))
    pdfmetrics.registerFont(font)
    pdfmetrics.registerFontFamily(FONT, FONT, FONT, FONT, FONT)
    for name in VIEWERS_FONTS:
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return frozenset(code for code in font.face.charToGlyph if code <= 0xFFFF)  # of others no text could be selected


def markup(text: str) -> str:
    """Return text as reportlab's paragraphs take it; white space counts as single spaces."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    viewers = max(VIEWERS_FONTS, key=lambda name: sum(_has(name, character) for character in text))
    runs = itertools.groupby(text, lambda character: _font_of(character, viewers))
    return "".join(_run(font, "".join(characters)) for font, characters in runs)


def _font_of(character: str, viewers: str) -> str | None:
    if unicodedata.bidirectional(character) in ("R", "AL"):
        return None
    if ord(character) in register_fonts():
        return FONT
    return viewers if _has(viewers, character) else None


def _has(font: str, character: str) -> bool:
    try:
        return len(character.encode(VIEWERS_FONTS[font])) > 1
    except UnicodeEncodeError:
        return False


def _run(font: str | None, characters: str) -> str:
    if font is None:
        return f"[{' '.join(f'U+{ord(character):04X}' for character in characters)}]"
    return escape(characters) if font == FONT else f'<font name="{font}">{escape(characters)}</font>'
