"""The registry of views. Importing it does not import torch, so ``--help`` and bad input stay fast."""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from utils.views.view_base import BaseView

# name on the command line -> "module:class", and what the view does, in one line
VIEWS = {
    "identity": ("view_identity:IdentityView", "the picture as it is"),
    "rotate_cw": ("view_rotate:RotateCWView", "a quarter turn clockwise"),
    "rotate_ccw": ("view_rotate:RotateCCWView", "a quarter turn counterclockwise"),
    "rotate_180": ("view_rotate:Rotate180View", "upside down by half a turn"),
    "flip": ("view_flip:FlipView", "mirrored top to bottom"),
    "inner_rotate": ("view_inner_rotate:InnerRotateView", "an inner disc turned clockwise by --rotate_angle"),
}


def get_views(names: Sequence[str], rotate_angle: float = 90.0) -> list["BaseView"]:
    """Build the views of a run.

    Args:
        names: keys of ``VIEWS``, one per view; a name may stand more than once.
        rotate_angle: degrees clockwise, read by ``inner_rotate`` alone.

    Raises:
        KeyError: a name is not registered (``utils.options`` refuses it earlier, with the list).
    """
    return [_build(name, rotate_angle) for name in names]


def _build(name: str, rotate_angle: float) -> "BaseView":
    module_name, class_name = VIEWS[name][0].split(":")
    view_class = getattr(importlib.import_module(f"utils.views.{module_name}"), class_name)
    return view_class(rotate_angle) if name == "inner_rotate" else view_class()
