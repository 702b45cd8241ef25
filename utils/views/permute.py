"""Views that move whole cells of a square grid."""

import numpy as np
from PIL import Image

from utils.views.drawing import LIFT, fly_cells
from utils.views.view_base import PermutationView, cell_size, pixel_numbers


class CellPermutationView(PermutationView):
    """The cells of a grid change places. The same cells move at every size.

    Args:
        cells: int64 ``[n * n]``: which cell of the picture each cell of the view shows, counted row by row.
        grid: n.
        lift: how much the cells' ways bend in an animation.
    """

    def __init__(self, cells: np.ndarray, grid: int, lift: float = LIFT):
        super().__init__()
        self.cells, self.grid, self.lift = cells, grid, lift

    def source(self, size: int) -> np.ndarray:
        side = cell_size(size, self.grid)
        by_cell = pixel_numbers(size).reshape(self.grid, side, self.grid, side).swapaxes(1, 2)
        moved = by_cell.reshape(-1, side, side)[self.cells].reshape(self.grid, self.grid, side, side)
        return moved.swapaxes(1, 2).reshape(size, size)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        return fly_cells(picture, seen, self.cells, share, self.lift)


def shuffle(count: int, random: np.random.RandomState) -> np.ndarray:
    """Return a random permutation ``[count]`` that is not the identity.

    ``RandomState`` and not ``default_rng``: NumPy promises to never change its stream.
    """
    order = np.arange(count)
    while np.array_equal(order, np.arange(count)):
        order = random.permutation(count)
    return order.astype(np.int64)
