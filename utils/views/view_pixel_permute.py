"""Small cells of the picture change places."""

import numpy as np

from utils.views.permute import CellPermutationView, shuffle


class PixelPermuteView(CellPermutationView):
    """The cells of a ``grid`` by ``grid`` picture, shuffled by ``seed``; one pixel each in a picture that small.

    Cells and not pixels, so that every stage of a cascade moves the same parts of the picture.
    """

    def __init__(self, grid: int = 32, seed: int = 1):
        super().__init__(shuffle(grid * grid, np.random.RandomState(seed)), grid, lift=0.0)
