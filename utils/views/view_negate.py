"""Light and dark exchanged."""

import torch

from utils.views.view_base import BaseView


class NegateView(BaseView):
    """The sign of every value changed: for values in [-1, 1], and for eps, which stays standard normal.

    IF's networks give 6 channels, of which 3 are a variance that must not change sign. It never comes here: the
    adapter of the networks drops it.
    """

    def view(self, im: torch.Tensor) -> torch.Tensor:
        return -im

    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        return -im
