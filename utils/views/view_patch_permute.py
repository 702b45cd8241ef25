"""Square patches change places."""

import numpy as np

from utils.views.permute import CellPermutationView, shuffle


class PatchPermuteView(CellPermutationView):
    """The patches of a ``grid`` by ``grid`` picture, shuffled by ``seed``, none of them turned."""

    def __init__(self, grid: int = 4, seed: int = 1):
        super().__init__(shuffle(grid * grid, np.random.RandomState(seed)), grid)
