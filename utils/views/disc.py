"""A disc around the picture's centre, and views that turn one."""

from abc import abstractmethod

import torch
from PIL import Image

from utils.views.drawing import turn_disc
from utils.views.view_base import BaseView
from utils.views.view_rotate import rotate_clockwise


def centred(size: int, device: torch.device) -> torch.Tensor:
    """Return the coordinates ``[size]`` of pixel centres, 0 in the middle of the picture; float32."""
    return torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2


def disc(size: int, radius: float, device: torch.device) -> torch.Tensor:
    """Return the mask ``[size, size]`` of the pixels whose centre lies within ``radius`` (share of the side)."""
    axis = centred(size, device)
    return axis[:, None] ** 2 + axis[None, :] ** 2 <= (radius * size) ** 2


class TurnedDiscView(BaseView):
    """A disc turned clockwise, its surroundings stay; by multiples of 90 degrees its pixels only change places.

    Args:
        angle: degrees clockwise.
        radius: share of the picture's side.
    """

    def __init__(self, angle: float, radius: float):
        self.angle, self.radius = angle, radius
        self.kind = "orthogonal" if angle % 90 == 0 else "linear"

    @abstractmethod
    def turn(self, im: torch.Tensor, angle: float) -> torch.Tensor:
        """Turn a whole picture ``[C, h, h]`` clockwise by an angle that is no multiple of 90 degrees."""

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return self._turn_disc(im, self.angle)

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return self._turn_disc(im, -self.angle)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return turn_disc(picture, self.angle * share, self.radius)

    def _turn_disc(self, im: torch.Tensor, angle: float) -> torch.Tensor:
        turned = rotate_clockwise(im, int(angle // 90)) if angle % 90 == 0 else self.turn(im, angle)
        return torch.where(disc(im.shape[-1], self.radius, im.device), turned, im)
