"""A disc inside the picture turns, its surroundings stay (Task 3 of the assignment)."""

import math

import torch
from PIL import Image

from utils.views.disc import centred, disc
from utils.views.motion import turn_disc
from utils.views.view_base import BaseView
from utils.views.view_rotate import rotate_clockwise

RADIUS = 24 / 64  # of the picture's side: 24 of 64 pixels, 96 of 256


class InnerRotateView(BaseView):
    """The disc of radius ``RADIUS`` around the centre, turned clockwise by ``angle`` degrees.

    Multiples of 90 degrees permute pixels: the view is orthogonal. Other angles take the nearest pixel and are linear:
    each pixel of the view keeps the variance of the noise, but about one in five pixels of the picture is not seen and
    others are seen twice, and ``inverse_view`` (the turn back) only approximates an inverse.
    """

    def __init__(self, angle: float):
        self.angle = angle
        self.kind = "orthogonal" if angle % 90 == 0 else "linear"

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return self._rotate_disc(im, self.angle)

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return self._rotate_disc(im, -self.angle)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return turn_disc(picture, self.angle * share, RADIUS)

    def _rotate_disc(self, im: torch.Tensor, angle: float) -> torch.Tensor:
        turned = rotate_clockwise(im, int(angle // 90)) if angle % 90 == 0 else _rotate_nearest(im, angle)
        return torch.where(disc(im.shape[-1], RADIUS, im.device), turned, im)


def _rotate_nearest(im: torch.Tensor, angle: float) -> torch.Tensor:
    """Turn ``[C, h, h]`` clockwise around its centre; every pixel takes the nearest source pixel."""
    size = im.shape[-1]
    axis = centred(size, im.device)
    y, x = axis[:, None], axis[None, :]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    source_x = (cos * x + sin * y + (size - 1) / 2).round().long().clamp(0, size - 1)
    source_y = (cos * y - sin * x + (size - 1) / 2).round().long().clamp(0, size - 1)
    return im[:, source_y, source_x]
