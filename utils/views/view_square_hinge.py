"""The squares of a checkerboard turn on their spot, neighbours in opposite directions."""

import math

import numpy as np
from PIL import Image

from utils.views.view_base import NEUTRAL, PermutationView, cell_size, pixel_numbers


class SquareHingeView(PermutationView):
    """``grid`` by ``grid`` squares turn a quarter each: the first clockwise, its neighbours counterclockwise.

    Like squares hinged at their corners: half way they touch only there, and the picture, were it not made to fit,
    would be larger.
    """

    def __init__(self, grid: int = 4):
        super().__init__()
        self.grid = grid

    def source(self, size: int) -> np.ndarray:
        side = cell_size(size, self.grid)
        numbers, turned = pixel_numbers(size), np.empty((size, size), dtype=np.int64)
        for row in range(self.grid):
            for column in range(self.grid):
                cell = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
                turned[cell] = np.rot90(numbers[cell], -int(self._direction(row, column)))
        return turned

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        size = picture.size[0]
        side = cell_size(size, self.grid)
        cell = np.arange(size) // side
        inside = (np.arange(size) % side - (side - 1) / 2).astype(np.float32)
        clockwise = np.asarray(self._direction(cell[:, None], cell[None, :]), dtype=np.float32)
        cos, sin = math.cos(math.pi / 2 * share), math.sin(math.pi / 2 * share)
        shrink = cos + sin  # so that the corners stay in the cell
        y = shrink * (cos * inside[:, None] - clockwise * sin * inside[None, :])
        x = shrink * (cos * inside[None, :] + clockwise * sin * inside[:, None])
        return self._sample(np.asarray(picture, dtype=np.float32), y, x, cell, side)

    def _direction(self, row: int | np.ndarray, column: int | np.ndarray) -> int | np.ndarray:
        return 1 - 2 * ((row + column) % 2)

    def _sample(self, pixels: np.ndarray, y: np.ndarray, x: np.ndarray, cell: np.ndarray, side: int) -> Image.Image:
        """Look up ``[h, h]`` coordinates from the cells' centres, bilinear, with smooth edges to the background."""
        half = (side - 1) / 2
        covered = (half + 1 - np.maximum(np.abs(y), np.abs(x))).clip(0, 1)[..., None]
        y, x = (y + half).clip(0, side - 1), (x + half).clip(0, side - 1)
        top, left = np.minimum(y.astype(np.int64), side - 2), np.minimum(x.astype(np.int64), side - 2)
        down, right = (y - top)[..., None], (x - left)[..., None]
        row, column = cell[:, None] * side + top, cell[None, :] * side + left
        upper = (1 - right) * pixels[row, column] + right * pixels[row, column + 1]
        lower = (1 - right) * pixels[row + 1, column] + right * pixels[row + 1, column + 1]
        colour = (1 - down) * upper + down * lower
        drawn = covered * colour + (1 - covered) * np.array(NEUTRAL, dtype=np.float32)
        return Image.fromarray(drawn.round().astype(np.uint8), "RGB")
