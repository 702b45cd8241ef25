"""The picture without colour."""

import torch

from utils.views.view_base import ComponentView


class GrayscaleView(ComponentView):
    """The mean over the channels, in all of them; sums to the whole with ``color``.

    A plain mean and no weights of the eye: it is an orthogonal projection, for any number of channels.
    """

    def part(self, im: torch.Tensor) -> torch.Tensor:
        return im.mean(dim=0, keepdim=True).expand_as(im).contiguous()
