"""The part of a picture between what is seen from afar and what is seen from near alone."""

import torch

from utils.views.filters import gaussian_blur
from utils.views.view_base import ComponentView


class BandPassView(ComponentView):
    """What lies between blurs of ``coarse`` and ``fine``: the middle of a triple hybrid.

    It sums to the whole with ``low_pass:sigma=<coarse>`` and ``high_pass:sigma=<fine>``.
    """

    def __init__(self, coarse: float = 1 / 16, fine: float = 1 / 64):
        self.coarse, self.fine = coarse, fine

    def part(self, im: torch.Tensor) -> torch.Tensor:
        return gaussian_blur(im, self.fine) - gaussian_blur(im, self.coarse)
