"""What a view is."""

from abc import ABC, abstractmethod

import torch


class BaseView(ABC):
    """A way to look at the canonical picture: an instance of it that a pretrained model can denoise.

    Both methods take and return one picture ``[C, h, h]`` of any value range and channel count, leave the argument
    untouched, and work at every size, so that each stage of a cascade uses the same transformation.
    """

    @abstractmethod
    def view(self, im: torch.Tensor) -> torch.Tensor:
        """Project: canonical ``[C, h, h]`` -> instance ``[C, h, h]``."""

    @abstractmethod
    def inverse_view(self, im: torch.Tensor) -> torch.Tensor:
        """Unproject: instance ``[C, h, h]`` -> canonical ``[C, h, h]``."""
