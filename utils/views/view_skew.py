"""Columns slide up or down; what leaves at one edge enters at the other."""

import numpy as np
from PIL import Image

from utils.views.view_base import PermutationView, pixel_numbers


class SkewView(PermutationView):
    """Columns right of the centre slide up by ``slope`` pixels per column, those left of it down, around the edge."""

    def __init__(self, slope: float = 1.5):
        super().__init__()
        self.slope = slope

    def source(self, size: int) -> np.ndarray:
        rows = np.arange(size)[:, None] + np.floor(self._slide(size) + 0.5).astype(np.int64)
        return np.take_along_axis(pixel_numbers(size), rows % size, axis=0)

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        pixels, size = np.asarray(picture, dtype=np.float32), picture.size[0]
        rows = np.arange(size)[:, None] + share * self._slide(size)
        upper = np.floor(rows)
        weight = (rows - upper).astype(np.float32)[..., None]
        columns, upper = np.arange(size)[None, :], upper.astype(np.int64)
        slid = (1 - weight) * pixels[upper % size, columns] + weight * pixels[(upper + 1) % size, columns]
        return Image.fromarray(slid.round().astype(np.uint8), "RGB")

    def _slide(self, size: int) -> np.ndarray:
        """Return how many rows each column slides up, ``[size]``."""
        return self.slope * (np.arange(size) - (size - 1) / 2)
