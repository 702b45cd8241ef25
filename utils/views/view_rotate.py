"""Turns of the whole picture by quarter turns: permutations of pixels, so the inverse is exact to the bit.

``torch.rot90`` and not torchvision's ``rotate``: the latter misplaces half the pixels of a 256 px picture in half
precision on the CPU.
"""

import torch
from PIL import Image

from utils.views.drawing import turn
from utils.views.view_base import BaseView


def rotate_clockwise(im: torch.Tensor, quarter_turns: int) -> torch.Tensor:
    """Turn ``[C, h, h]`` clockwise: ``[[1, 2], [3, 4]]`` becomes ``[[3, 1], [4, 2]]`` after one quarter turn."""
    return torch.rot90(im, -quarter_turns, dims=(-2, -1)).contiguous()


class _QuarterTurnsView(BaseView):
    quarter_turns: int  # clockwise

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return rotate_clockwise(im, self.quarter_turns)

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return rotate_clockwise(im, -self.quarter_turns)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return turn(picture, 90 * self.quarter_turns * share)


class RotateCWView(_QuarterTurnsView):
    """The picture turned 90 degrees clockwise; the inverse turns it 90 degrees counterclockwise."""

    quarter_turns = 1


class RotateCCWView(_QuarterTurnsView):
    """The picture turned 90 degrees counterclockwise."""

    quarter_turns = -1


class Rotate180View(_QuarterTurnsView):
    """The picture turned by 180 degrees."""

    quarter_turns = 2
