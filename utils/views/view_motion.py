"""The part of a picture that is left when it moves."""

import torch
from PIL import Image

from utils.views.filters import motion_blur
from utils.views.view_base import ComponentView, from_tensor, to_tensor


class MotionView(ComponentView):
    """The picture smeared along a line: ``length`` as share of the side, ``angle`` in degrees clockwise from level.

    It sums to the whole with ``motion_res`` of equal length and angle.
    """

    def __init__(self, length: float = 1 / 8, angle: float = 0.0):
        self.length, self.angle = length, angle

    def part(self, im: torch.Tensor) -> torch.Tensor:
        return motion_blur(im, self.length, self.angle)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return from_tensor(motion_blur(to_tensor(picture), self.length * share, self.angle))
