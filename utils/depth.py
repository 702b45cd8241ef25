"""Depth of a whole sphere from a file: inverse depth, near is large, as the usual estimators of depth write it."""

from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.images import MAX_PIXELS, decode_grey
from utils.views.array_file import read_array

WANTED = "give an equirectangular picture in grey, twice as wide as high, or a .npy file of numbers [H, 2 H]"


def read_depth(path: Path) -> np.ndarray:
    """Read inverse depth in all directions, scaled so that the farthest is 0 and the nearest 1.

    Args:
        path: equirectangular, its middle straight ahead: a picture of 8 or 16 bits in which near is bright, or a
            ``.npy`` file of real numbers that are large where it is near, of any scale.

    Returns:
        float32 ``[H, 2 H]``.

    Raises:
        UserError: no such file, no picture or array in grey, not 2:1, a number that is not finite, or all the same.
    """
    try:
        depth = read_array(path) if path.suffix == ".npy" else decode_grey(path)
    except ValueError as error:
        raise UserError(f"--depth {path} {error}: {WANTED}.") from error
    if depth.dtype.kind not in "fiu" or depth.ndim != 2 or not 0 < depth.size < MAX_PIXELS:
        raise UserError(f"--depth {path} holds {depth.dtype} {list(depth.shape)}: {WANTED}.")
    height, width = depth.shape
    if width != 2 * height:
        raise UserError(f"--depth {path} is {width}x{height}: {WANTED}.")
    with np.errstate(over="ignore"):  # told below
        depth = depth.astype(np.float32)
    if not np.isfinite(depth).all():
        raise UserError(f"--depth {path} holds numbers that are not finite: give 0 where nothing is near.")
    nearest, farthest = depth.max(), depth.min()
    if nearest == farthest:
        raise UserError(f"--depth {path} is the same everywhere, which says nothing of depth: give another file.")
    return (depth - farthest) / (nearest - farthest)
