"""A disc inside the picture turns, its surroundings stay (Task 3 of the assignment)."""

import math

import torch

from utils.views.disc import TurnedDiscView, centred

RADIUS = 24 / 64  # of the picture's side: 24 of 64 pixels, 96 of 256


class InnerRotateView(TurnedDiscView):
    """The disc of ``radius`` (share of the side) around the centre, turned clockwise by ``angle`` degrees.

    Multiples of 90 degrees permute pixels: the view is orthogonal. Other angles take the nearest pixel and are linear:
    each pixel of the view keeps the variance of the noise, but about one in five pixels of the picture is not seen and
    others are seen twice, and ``inverse_view`` (the turn back) only approximates an inverse.
    """

    def __init__(self, angle: float, radius: float = RADIUS):
        super().__init__(angle, radius)

    def turn(self, im: torch.Tensor, angle: float) -> torch.Tensor:
        return _rotate_nearest(im, angle)


def _rotate_nearest(im: torch.Tensor, angle: float) -> torch.Tensor:
    """Turn ``[C, h, h]`` clockwise around its centre; every pixel takes the nearest source pixel."""
    size = im.shape[-1]
    axis = centred(size, im.device)
    y, x = axis[:, None], axis[None, :]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    source_x = (cos * x + sin * y + (size - 1) / 2).round().long().clamp(0, size - 1)
    source_y = (cos * y - sin * x + (size - 1) / 2).round().long().clamp(0, size - 1)
    return im[:, source_y, source_x]
