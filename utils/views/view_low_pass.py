"""The part of a picture that is seen from afar."""

import torch
from PIL import Image

from utils.views.filters import gaussian_blur
from utils.views.view_base import ComponentView, from_tensor, to_tensor


class LowPassView(ComponentView):
    """The picture blurred by ``sigma`` (share of the side); sums to the whole with ``high_pass`` of equal sigma."""

    def __init__(self, sigma: float = 1 / 32):
        self.sigma = sigma

    def part(self, im: torch.Tensor) -> torch.Tensor:
        return gaussian_blur(im, self.sigma)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return from_tensor(gaussian_blur(to_tensor(picture), self.sigma * share))
