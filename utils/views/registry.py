"""Every view's name, class, parameters and, for components, what they sum to. A new view is one file and one entry.

Nothing here imports torch, so ``--help`` and bad input are answered at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Value = float | int | str
Values = Mapping[str, Any]  # name of a parameter -> Value, or None where --rotate_angle has it
Terms = dict[tuple[str | float, ...], float]  # symbol of a linear map -> its coefficient
WHOLE = ("whole",)  # symbol of the map that changes nothing
SEEDS = 2**32 - 1


@dataclass(frozen=True)
class Parameter:
    """One parameter of a view.

    Attributes:
        name: as on the command line and in the view's constructor.
        type: ``int``, ``float``, or ``str`` for the path of a file.
        default: None where it has to be given (or, for ``inner_rotate``, where ``--rotate_angle`` says it).
        low, high: the numbers allowed, both included.
        help: what it means, in a few words.
    """

    name: str
    type: type
    default: Value | None
    low: float = float("-inf")
    high: float = float("inf")
    help: str = ""


@dataclass(frozen=True)
class Entry:
    """One view of the registry.

    Attributes:
        target: ``module:class`` inside this package.
        help: what the view does, in one line.
        parameters: in the order of the help.
        terms: for components alone, the part as a sum of linear maps; a combination is valid where the terms of all its
            parts sum to ``WHOLE``.
        check: what the ranges cannot say: returns what is wrong with the values, or None.
    """

    target: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    terms: Callable[[Values], Terms] | None = None
    check: Callable[[Values], str | None] | None = None


def _grid(default: int, high: int = 64) -> Parameter:
    return Parameter("grid", int, default, 2, high, "cells per side")


def _angle(default: float | None, help: str = "degrees clockwise") -> Parameter:
    return Parameter("angle", float, default, -3600, 3600, help)


def _sigma(name: str = "sigma", default: float = 1 / 32, help: str = "of the blur, as share of the side") -> Parameter:
    return Parameter(name, float, default, 1 / 1024, 1 / 2, help)


_SEED = Parameter("seed", int, 1, 0, SEEDS, "which shuffle")
_RADIUS = Parameter("radius", float, 24 / 64, 1 / 64, 1 / 2, "of the disc, as share of the side")
_MOTION = (Parameter("length", float, 1 / 8, 1 / 64, 1 / 2, "of the smear, as share of the side"),
           _angle(0.0, "degrees clockwise from level"))  # fmt: skip


def _blur(sigma: Value) -> tuple[str | float, ...]:
    return ("gaussian", round(float(sigma), 12))


def _smear(values: Values) -> tuple[str | float, ...]:
    return ("motion", round(float(values["length"]), 12), round(float(values["angle"]) % 180, 9))


def _check_band(values: Values) -> str | None:
    return None if values["coarse"] > values["fine"] else "coarse is not above fine: exchange them"


VIEWS: dict[str, Entry] = {
    "identity": Entry("view_identity:IdentityView", "the picture as it is"),
    "rotate_cw": Entry("view_rotate:RotateCWView", "a quarter turn clockwise"),
    "rotate_ccw": Entry("view_rotate:RotateCCWView", "a quarter turn counterclockwise"),
    "rotate_180": Entry("view_rotate:Rotate180View", "upside down by half a turn"),
    "rotate": Entry("view_rotate_disc:RotateDiscView", "the largest disc turned by any angle, bicubic, with some loss",
                    (_angle(135.0),)),
    "flip": Entry("view_flip:FlipView", "mirrored top to bottom"),
    "flip_horizontal": Entry("view_flip_horizontal:FlipHorizontalView", "mirrored left to right"),
    "inner_rotate": Entry("view_inner_rotate:InnerRotateView", "an inner disc turned clockwise by --rotate_angle",
                          (_angle(None, "degrees clockwise, else --rotate_angle"),)),
    "inner_circle": Entry("view_inner_circle:InnerCircleView", "an inner disc turned by quarter turns, always exact",
                          (Parameter("turns", int, 2, 1, 3, "quarter turns clockwise"), _RADIUS)),
    "skew": Entry("view_skew:SkewView", "columns slid up or down, around the edge",
                  (Parameter("slope", float, 1.5, -16, 16, "pixels of slide per column"),)),
    "negate": Entry("view_negate:NegateView", "light and dark exchanged"),
    "patch_permute": Entry("view_patch_permute:PatchPermuteView", "square patches change places", (_grid(4), _SEED)),
    "pixel_permute": Entry("view_pixel_permute:PixelPermuteView", "small cells change places", (_grid(32), _SEED)),
    "jigsaw": Entry("view_jigsaw:JigsawView", "jigsaw pieces of equal shape turn and change places",
                    (_grid(4, 16), _SEED)),
    "square_hinge": Entry("view_square_hinge:SquareHingeView", "squares of a checkerboard turn a quarter on their spot",
                          (_grid(4),)),
    "permutation": Entry("view_permutation:PermutationFileView", "cells change places as an array of yours says",
                         (Parameter("file", str, None, help="NumPy file: cell i of the view is cell file[i]"),)),
    "low_pass": Entry("view_low_pass:LowPassView", "component: what is seen from afar", (_sigma(),),
                      lambda v: {_blur(v["sigma"]): 1.0}),
    "band_pass": Entry("view_band_pass:BandPassView", "component: what is seen from between near and far",
                       (_sigma("coarse", 1 / 16, "sigma of low_pass"), _sigma("fine", 1 / 64, "sigma of high_pass")),
                       lambda v: {_blur(v["fine"]): 1.0, _blur(v["coarse"]): -1.0}, _check_band),
    "high_pass": Entry("view_high_pass:HighPassView", "component: what is seen from near alone", (_sigma(),),
                       lambda v: {WHOLE: 1.0, _blur(v["sigma"]): -1.0}),
    "grayscale": Entry("view_grayscale:GrayscaleView", "component: the picture without colour", (),
                       lambda v: {("grayscale",): 1.0}),
    "color": Entry("view_color:ColorView", "component: colour alone", (),
                   lambda v: {WHOLE: 1.0, ("grayscale",): -1.0}),
    "motion": Entry("view_motion:MotionView", "component: what is left in a moving glance", _MOTION,
                    lambda v: {_smear(v): 1.0}),
    "motion_res": Entry("view_motion_res:MotionResidualView", "component: what a moving glance misses", _MOTION,
                        lambda v: {WHOLE: 1.0, _smear(v): -1.0}),
    "scale": Entry("view_scale:ScaleView", "component: a share of the whole picture",
                   (Parameter("weight", float, 0.5, 1 / 1000, 1, "the share"),), lambda v: {WHOLE: float(v["weight"])}),
}  # fmt: skip
