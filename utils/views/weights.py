"""Weights of the views for ``--reduction weighted``, checked before torch is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.views.array_file import read_array

if TYPE_CHECKING:
    import numpy as np


LARGEST = 1e30  # of a weight: sums stay finite


def check_weights(weights: Sequence[float], views: int) -> None:
    """Check one weight per view.

    Raises:
        UserError: another number of them, one that is negative, too large or NaN, or none above zero.
    """
    if len(weights) != views:
        raise UserError(f"--view_weights has {len(weights)} numbers for {views} views: give one per view.")
    if not all(0 <= weight <= LARGEST for weight in weights) or sum(weights) <= 0:  # NaN too
        shown = " ".join(f"{weight:g}" for weight in weights)
        raise UserError(f"--view_weights {shown}: give numbers from 0 to {LARGEST:g}, at least one of them above 0.")


def read_weight_map(path: Path, views: int | None = None) -> "np.ndarray":
    """Read weights per pixel.

    Args:
        path: ``.npy`` file of real numbers.
        views: how many maps to expect; None for one map, of a window.

    Returns:
        float64 ``[views, h, h]``, or ``[h, w]`` for a window.

    Raises:
        UserError: no such file or array, a weight that is negative, too large or NaN, a pixel without any.
    """
    import numpy as np

    try:
        weights = read_array(path)
    except ValueError as error:
        raise UserError(f"--weight_map {path} {error}: give a .npy file of numbers.") from error
    if not _fits(weights, views):
        wanted = "[h, w]" if views is None else f"[{views}, h, h]"
        raise UserError(f"--weight_map {path} holds {weights.dtype} {list(weights.shape)}: give real numbers {wanted}.")
    weights = weights.astype(np.float64)
    if not ((weights >= 0) & (weights <= LARGEST)).all():
        raise UserError(
            f"--weight_map {path} holds weights that are negative, too large or no numbers: give 0 to {LARGEST:g}."
        )
    total = weights if views is None else weights.sum(axis=0)
    if total.min() <= 0:
        raise UserError(f"--weight_map {path} leaves a pixel without weight: give each one above 0 somewhere.")
    return weights


def _fits(weights: "np.ndarray", views: int | None) -> bool:
    if weights.dtype.kind not in "fiu" or weights.size == 0:
        return False
    if views is None:
        return weights.ndim == 2
    return weights.ndim == 3 and len(weights) == views and weights.shape[1] == weights.shape[2]
