"""Captions under moving pictures, in Pillow's own font."""

from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont  # the second where Pillow was built without FreeType
LINES = 2
LETTERS = 400  # of a prompt that are looked at; two lines never hold more
PAPER, INK = (20, 20, 20), (235, 235, 235)


class Captions:
    """The captions of one animation, all in a strip of one height.

    Args:
        texts: every text that will be shown; any Unicode, what the font lacks is drawn as a box.
        width: of the pictures in pixels.
    """

    def __init__(self, texts: Iterable[str], width: int):
        self.width = width
        size = max(9, min(width, 360) // 18)
        self.font = ImageFont.load_default(size=size)
        self.margin, self.line_height = size // 2, round(size * 1.3)
        self.rows = {text: fit(text, self.font, width - 2 * self.margin) for text in texts}
        most = max((len(rows) for rows in self.rows.values()), default=0)
        self.height = most * self.line_height + 2 * self.margin if most else 0

    def under(self, picture: Image.Image, text: str, strength: float = 1.0) -> Image.Image:
        """Put a text, faded to ``strength`` in [0, 1], under an RGB picture ``[h, width]``."""
        framed = Image.new("RGB", (self.width, picture.height + self.height), PAPER)
        framed.paste(picture)
        draw = ImageDraw.Draw(framed)
        ink = tuple(round(paper + strength * (ink - paper)) for paper, ink in zip(PAPER, INK, strict=True))
        for index, row in enumerate(self.rows[text]):
            top = picture.height + self.margin + index * self.line_height
            left = (self.width - self.font.getlength(row)) / 2
            draw.text((left, top), row, fill=ink, font=self.font)
        return framed


def fit(text: str, font: Font, width: float) -> list[str]:
    """Break a text into at most ``LINES`` rows that are no wider than ``width``; what is left out becomes "..."."""
    words = _readable(text).split()
    rows = _wrap(words, font, width)
    if len(rows) > LINES:
        return [*(_shorten(row, font, width) for row in rows[: LINES - 1]), _cut(rows[LINES - 1], font, width)]
    widths = (share / 20 * width for share in range(10, 21))  # the narrowest that will do: rows of about one length
    even = next((tried for tried in (_wrap(words, font, w) for w in widths) if len(tried) == len(rows)), rows)
    return [_shorten(row, font, width) for row in even]


def _wrap(words: Sequence[str], font: Font, width: float) -> list[str]:
    """Break words into rows; a word wider than a row has one of its own."""
    rows = [""]
    for word in words:
        joined = f"{rows[-1]} {word}".strip()
        if font.getlength(joined) <= width:
            rows[-1] = joined
        else:
            rows.append(word)
    return [row for row in rows if row]


def _readable(text: str) -> str:
    """Return the start of a text without what no font can draw: control characters, lone surrogates."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:LETTERS])


def _shorten(row: str, font: Font, width: float) -> str:
    return row if font.getlength(row) <= width else _cut(row, font, width)


def _cut(row: str, font: Font, width: float) -> str:
    while row and font.getlength(f"{row}...") > width:
        row = row[:-1]
    return f"{row.rstrip()}..."
