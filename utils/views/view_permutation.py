"""Cells change places as an array from a file says."""

import math

from utils.views.permutation_file import read_permutation
from utils.views.permute import CellPermutationView


class PermutationFileView(CellPermutationView):
    """Cell i of the view shows cell ``file[i]`` of the picture, see :func:`read_permutation`."""

    def __init__(self, file: str):
        cells = read_permutation(file)
        super().__init__(cells, math.isqrt(len(cells)))
