"""The view that changes nothing."""

import torch

from utils.views.view_base import BaseView


class IdentityView(BaseView):
    """The canonical picture itself."""

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return im.clone()

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return im.clone()
