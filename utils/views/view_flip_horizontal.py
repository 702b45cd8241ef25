"""The picture mirrored left to right."""

import torch
from PIL import Image

from utils.views.drawing import flip_card
from utils.views.view_base import BaseView


class FlipHorizontalView(BaseView):
    """Mirrored at the vertical axis; its own inverse."""

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return im.flip(-1)

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return im.flip(-1)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return flip_card(picture, seen, share, upright=True)
