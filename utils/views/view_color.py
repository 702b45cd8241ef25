"""The colour of a picture, without light and dark."""

import torch

from utils.views.view_base import ComponentView


class ColorView(ComponentView):
    """What ``grayscale`` leaves: each channel's distance from the mean of all."""

    def part(self, im: torch.Tensor) -> torch.Tensor:
        return im - im.mean(dim=0, keepdim=True)
