"""A disc inside the picture turns, its surroundings stay (Task 3 of the assignment)."""

import math

import torch

from utils.views.view_base import BaseView
from utils.views.view_rotate import rotate_clockwise

RADIUS = 24 / 64  # of the picture's side: 24 of 64 pixels, 96 of 256


class InnerRotateView(BaseView):
    """The disc of radius ``RADIUS`` around the centre, turned clockwise by ``angle`` degrees.

    Multiples of 90 degrees permute pixels, so the inverse is exact to the bit. Other angles take the nearest pixel: the
    map is then n-to-1 in places, and ``inverse_view`` (the turn back) only approximates an inverse.
    """

    def __init__(self, angle: float):
        self.angle = angle

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return self._rotate_disc(im, self.angle)

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return self._rotate_disc(im, -self.angle)

    def _rotate_disc(self, im: torch.Tensor, angle: float) -> torch.Tensor:
        turned = rotate_clockwise(im, int(angle // 90)) if angle % 90 == 0 else _rotate_nearest(im, angle)
        return torch.where(_disc(im.shape[-1], im.device), turned, im)


def _centred(size: int, device: torch.device) -> torch.Tensor:
    """Return the coordinates ``[size]`` of pixel centres, 0 in the middle of the picture."""
    return torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2


def _disc(size: int, device: torch.device) -> torch.Tensor:
    """Return the mask ``[size, size]`` of the pixels whose centre lies in the disc."""
    axis = _centred(size, device)
    return axis[:, None] ** 2 + axis[None, :] ** 2 <= (RADIUS * size) ** 2


def _rotate_nearest(im: torch.Tensor, angle: float) -> torch.Tensor:
    """Turn ``[C, h, h]`` clockwise around its centre; every pixel takes the nearest source pixel."""
    size = im.shape[-1]
    axis = _centred(size, im.device)
    y, x = axis[:, None], axis[None, :]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    source_x = (cos * x + sin * y + (size - 1) / 2).round().long().clamp(0, size - 1)
    source_y = (cos * y - sin * x + (size - 1) / 2).round().long().clamp(0, size - 1)
    return im[:, source_y, source_x]
