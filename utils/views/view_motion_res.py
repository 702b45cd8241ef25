"""The part of a picture that is lost when it moves."""

import torch

from utils.views.filters import motion_blur
from utils.views.view_base import ComponentView


class MotionResidualView(ComponentView):
    """What ``motion`` of equal ``length`` and ``angle`` leaves."""

    def __init__(self, length: float = 1 / 8, angle: float = 0.0):
        self.length, self.angle = length, angle

    def part(self, im: torch.Tensor) -> torch.Tensor:
        return im - motion_blur(im, self.length, self.angle)
