"""Views of a square picture. Importing this does not import torch, so ``--help`` and bad input stay fast."""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from utils.views.registry import VIEWS
from utils.views.spec import (
    ViewSpec,
    check_combination,
    check_sizes,
    parse_view,
    parse_views,
    permutation_files,
    reads_rotate_angle,
    view_help,
    with_contents,
    with_paths,
)

if TYPE_CHECKING:
    from utils.views.view_base import BaseView

__all__ = [
    "VIEWS",
    "ViewSpec",
    "check_combination",
    "check_sizes",
    "get_views",
    "parse_view",
    "parse_views",
    "permutation_files",
    "reads_rotate_angle",
    "view_help",
    "with_contents",
    "with_paths",
]


def get_views(names: Sequence[str | ViewSpec], rotate_angle: float | None = 90.0) -> list["BaseView"]:
    """Build the views of a run.

    Args:
        names: one per view, such as ``rotate_cw`` or ``patch_permute:grid=4,seed=7``; one may stand more than once.
        rotate_angle: degrees clockwise, read by ``inner_rotate`` where it has no angle of its own; None is 90.

    Raises:
        UserError: see :func:`parse_view`.
    """
    return [_build(parse_view(name), 90.0 if rotate_angle is None else rotate_angle) for name in names]


def _build(spec: ViewSpec, rotate_angle: float) -> "BaseView":
    module_name, class_name = spec.entry.target.split(":")
    view_class = getattr(importlib.import_module(f"utils.views.{module_name}"), class_name)
    values = dict(spec.values)
    if spec.name == "inner_rotate" and values["angle"] is None:
        values["angle"] = rotate_angle
    return view_class(**values)
