"""A disc inside the picture turns by quarter turns, its surroundings stay."""

import torch
from PIL import Image

from utils.views.disc import disc
from utils.views.motion import turn_disc
from utils.views.view_base import BaseView
from utils.views.view_rotate import rotate_clockwise


class InnerCircleView(BaseView):
    """The disc of ``radius`` (share of the side) around the centre, turned clockwise by ``turns`` quarter turns.

    The orthogonal relative of ``inner_rotate``: it has a radius, and no angle that loses pixels. At the default radius,
    ``inner_circle:turns=1`` and ``inner_rotate:angle=90`` are the same view.
    """

    def __init__(self, turns: int = 2, radius: float = 24 / 64):
        self.turns, self.radius = turns, radius

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return self._turn(im, self.turns)

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return self._turn(im, -self.turns)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return turn_disc(picture, 90 * self.turns * share, self.radius)

    def _turn(self, im: torch.Tensor, turns: int) -> torch.Tensor:
        return torch.where(disc(im.shape[-1], self.radius, im.device), rotate_clockwise(im, turns), im)
