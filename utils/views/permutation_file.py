"""Read a permutation of a square grid's cells from a NumPy file. Nothing in the file is ever executed."""

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.files import is_file
from utils.views.array_file import read_array

if TYPE_CHECKING:
    import numpy as np

LARGEST_GRID = 1024
LARGEST_FILE = LARGEST_GRID**2 * 8 + 4096  # bytes


def read_permutation(file: str) -> "np.ndarray":
    """Read and check a permutation.

    Args:
        file: ``.npy`` with integers ``[n * n]`` or ``[n, n]``: 0 to n * n - 1, each once, cells counted row by row.

    Returns:
        int64 ``[n * n]``; not to be written to.

    Raises:
        UserError: no such file, no array, or no permutation of a square grid.
    """
    path = Path(file)
    if not is_file(path):
        raise UserError(f"--views_names permutation: there is no file {file}: give file=PATH of a .npy file.")
    state = path.stat()
    if state.st_size > LARGEST_FILE:
        raise UserError(f"--views_names permutation: {file} has {state.st_size:,} bytes: give a grid of at most "
                        f"{LARGEST_GRID} by {LARGEST_GRID} cells.")  # fmt: skip
    return _read(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(file: str, _changed: int, _bytes: int) -> "np.ndarray":
    import numpy as np

    try:
        array = read_array(Path(file))
    except ValueError as error:
        raise UserError(f"--views_names permutation: {file} {error}: save one array with numpy.save.") from error
    if array.dtype.kind not in "iu":
        raise UserError(f"--views_names permutation: {file} holds no array of integers: save one with numpy.save.")
    cells = math.isqrt(array.size)
    if array.shape not in {(cells * cells,), (cells, cells)} or cells < 2:
        raise UserError(f"--views_names permutation: {file} has the shape {array.shape}: give n * n or n by n cells.")
    flat = array.reshape(-1)
    if not np.array_equal(np.sort(flat), np.arange(flat.size)):
        raise UserError(f"--views_names permutation: {file} is no permutation: it must hold 0 to {flat.size - 1}, "
                        "each once.")  # fmt: skip
    return flat.astype(np.int64)
