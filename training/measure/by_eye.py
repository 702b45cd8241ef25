"""Views of ambiguous letters that people have read: sheets of squares, each with a table that has a row per square.

``views_by_eye`` are the views of the weights of revision 1905192 at seeds 5 to 12, on which the judge of letters is
tested: one reader knew what was asked for and said whether it can be read, another said blind what letter it is.
``views_to_learn`` are others, read blind, on which it is trained.
"""

import csv
import itertools
from pathlib import Path

from PIL import Image

SIDE = 64
TEST = Path(__file__).with_name("views_by_eye.png")
TO_LEARN = Path(__file__).with_name("views_to_learn.webp")


def read_sheet(sheet: Path) -> tuple[list[Image.Image], list[dict[str, str]]]:
    """Return the views on a sheet, RGB squares, and a row of the table beside it, a CSV, for each."""
    with sheet.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    picture = Image.open(sheet).convert("RGB")
    corners = itertools.product(range(0, picture.height, SIDE), range(0, picture.width, SIDE))
    return [picture.crop((left, top, left + SIDE, top + SIDE)) for top, left in corners][: len(rows)], rows
