"""A share of the whole picture."""

import torch

from utils.views.view_base import ComponentView


class ScaleView(ComponentView):
    """The picture times ``weight``; several whose weights sum to 1 mix their prompts in one picture."""

    def __init__(self, weight: float = 0.5):
        self.weight = weight

    def part(self, im: torch.Tensor) -> torch.Tensor:
        return self.weight * im
