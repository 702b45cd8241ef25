"""The picture mirrored top to bottom."""

import torch

from utils.views.view_base import BaseView


class FlipView(BaseView):
    """Mirrored at the horizontal axis; its own inverse."""

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return im.flip(-2)

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return im.flip(-2)
