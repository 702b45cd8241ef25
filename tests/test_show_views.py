"""The sheet of views: every example is a command that main.py takes, and the sheet fits a page."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.show_views import EXAMPLES, GAP, LINE, SIDE, Example, sheet
from tests.runs import typed


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.tag)
def test_every_example_is_a_command(example: Example) -> None:
    typed(["--app", "ambiguous_image", "--model", "tiny", *example.argv])
    assert len(example.letters) + example.photograph == len(example.views)


def test_tags_differ() -> None:
    assert len({example.tag for example in EXAMPLES}) == len(EXAMPLES)


def test_an_example_is_not_parted_by_the_end_of_a_row() -> None:
    red = Image.new("RGB", (SIDE, SIDE), (255, 0, 0))
    paper = sheet([[("a", red)] * 2, [("b", red)] * 3, [("c", red)] * 2])
    assert paper.width <= 900 and paper.height == 2 * (SIDE + LINE + GAP) + GAP
    reds = (np.asarray(paper) == (255, 0, 0)).all(axis=2)
    assert reds[: SIDE + 2 * GAP].sum() == 5 * SIDE**2 and reds.sum() == 7 * SIDE**2
