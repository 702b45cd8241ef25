"""The part of a picture that is seen from near alone."""

import torch

from utils.views.filters import gaussian_blur
from utils.views.view_base import ComponentView


class HighPassView(ComponentView):
    """What ``low_pass`` of equal ``sigma`` leaves."""

    def __init__(self, sigma: float = 1 / 32):
        self.sigma = sigma

    def part(self, im: torch.Tensor) -> torch.Tensor:
        return im - gaussian_blur(im, self.sigma)
