"""Can one see where windows meet?"""

import itertools
from collections.abc import Sequence

import numpy as np


def seam_figure(strips: Sequence[np.ndarray], columns: Sequence[int], *others: Sequence[int], grid: int = 1) -> float:
    """Return the mean absolute step into some columns over the mean step elsewhere, over all strips together.

    Args:
        strips: ``[H, W, 3]`` each, all of one width.
        columns: column ``x`` stands for the step from pixel ``x - 1`` to pixel ``x``.
        others: further columns that do not count as elsewhere.
        grid: elsewhere are only multiples of it; the decoder's scale leaves its grid out of account.
    """
    steps = np.mean([np.abs(np.diff(strip.astype(np.float64), axis=1)).mean((0, 2)) for strip in strips], axis=0)
    borders = np.array(sorted(columns)) - 1
    elsewhere = np.arange(1, len(steps) + 1) % grid == 0
    elsewhere[np.array(sorted({*columns, *itertools.chain(*others)})) - 1] = False
    return float(steps[borders].mean() / steps[elsewhere].mean())
