"""The picture mirrored top to bottom."""

import torch
from PIL import Image

from utils.views.drawing import flip_card
from utils.views.view_base import BaseView


class FlipView(BaseView):
    """Mirrored at the horizontal axis; its own inverse."""

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return im.flip(-2)

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return im.flip(-2)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return flip_card(picture, seen, share, upright=False)
