"""Ways to synchronise, as data: which variable of a step is replaced by its average over the views.

SyncTweedies (Kim et al., NeurIPS 2024) numbers them: ``none`` is case 0, ``eps`` case 1, ``x0`` case 2 (the paper's
choice and the default), ``xt`` case 3. With linear maps, a shared start and no thresholding the last three agree.
"""

SYNCS: dict[str, frozenset[str]] = {
    "x0": frozenset({"x0"}),
    "eps": frozenset({"eps"}),
    "xt": frozenset({"xt"}),
    "none": frozenset(),
}
