"""A sphere that is looked at: the camera turns around once, looks straight up and comes back; in a ring it only turns.

Frames are looked up in a finer copy of the sphere, whose columns only move where the camera turns: that costs a
gather per frame.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from utils.animation.captions import Captions
from utils.animation.movie import BEAT, HOLD, PAN_HEIGHT, PAN_RATIO, Movie, Scene, ease
from utils.sphere import Band, Camera, canvas_places

FOV = 90.0  # from left to right; narrower where a ring is too low for it
TURN = 36 * BEAT  # milliseconds for the whole way around
LIFT = 8 * BEAT  # to straight up
FINE = 16  # rows and columns of the finer sphere per row of a frame, around: no step between two cells is seen
FADE = 6.0  # degrees, on both sides of where another text begins

Caption = Callable[[Camera], str]


def sphere_movie(picture: Image.Image, band: Band, caption: Caption) -> Movie:
    """Let a camera turn around in a sphere, then look up and come back.

    Args:
        picture: RGB, equirectangular, ``band.end - band.first`` rows.
        band: which rows of the sphere it shows; one that does not reach straight up is only turned around in.
        caption: camera -> the text under what it sees.
    """
    tangent, whole = _tangent(band), band.top == 90
    fov = 2 * float(np.rad2deg(np.arctan(tangent)))
    around = [caption(Camera(yaw, 0, fov)) for yaw in range(360)]
    above = [caption(Camera(0, pitch, fov)) for pitch in range(91)] if whole else []

    def scenes(height: int) -> list[Scene]:
        window = 2 * round(height * PAN_RATIO / 2)
        captions = Captions(dict.fromkeys([*around, *above]), window)
        sphere = FineSphere(picture, band, FINE * height // 2)
        view = functools.partial(sphere.look, fov=fov, size=(window, height))

        def turn(share: float) -> Image.Image:
            yaw = 360 * share
            return captions.under(view(yaw % 360, 0.0), around[round(yaw) % 360], strength(around, yaw, True))

        def lift(share: float) -> Image.Image:
            pitch = 90 * round(ease(share), 9)
            return captions.under(view(0.0, pitch), above[round(pitch)], strength(above, pitch, False))

        if not whole:
            return [Scene(turn, TURN)]
        return [
            Scene(lambda _: turn(0), HOLD, still=True),
            Scene(lambda share: turn(ease(share)), TURN),
            Scene(lambda _: lift(0), HOLD, still=True),
            Scene(lift, LIFT),
            Scene(lambda _: lift(1), HOLD, still=True),
            Scene(lambda share: lift(1 - share), LIFT),
        ]

    return Movie(min(band.height, PAN_HEIGHT), scenes)


def _tangent(band: Band) -> float:
    """Return half a frame's width at distance 1, so that it shows nothing beyond the band."""
    reach = min(band.top, -band.bottom)
    widest = float(np.tan(np.deg2rad(FOV) / 2))
    return widest if reach >= FOV / 2 else min(widest, PAN_RATIO * float(np.tan(np.deg2rad(reach))))


def strength(texts: Sequence[str], at: float, circular: bool) -> float:
    """Return how strong a text is, in [0, 1]: it fades where another one is near.

    Args:
        texts: one per degree.
        at: degrees.
        circular: the first one follows the last one.
    """
    count, here = len(texts), round(at)
    near = range(here - round(FADE) - 1, here + round(FADE) + 2)
    known = [index for index in near if circular or 0 <= index < count]
    others = [abs(index - at) for index in known if texts[index % count] != texts[here % count]]
    return min(1.0, max(0.0, min(others, default=FADE + 0.5) - 0.5) / FADE)


class FineSphere:
    """A sphere in which frames are looked up.

    Args:
        picture: RGB, equirectangular.
        band: which rows of the sphere it shows; the others are black.
        height: rows of the finer sphere.
    """

    def __init__(self, picture: Image.Image, band: Band, height: int):
        self.height = height
        first, end = (round(row * height / band.height) for row in (band.first, band.end))
        fine = picture.convert("RGB").resize((2 * height, end - first), Image.Resampling.BICUBIC)
        sphere = np.zeros((height, 4 * height), np.uint32)  # twice around: no column is beyond an edge
        sphere[first:end] = np.tile(np.asarray(fine.convert("RGBX")).view(np.uint32)[..., 0], 2)
        self.cells = sphere.ravel()
        self.places = functools.cache(self._places)

    def look(self, yaw: float, pitch: float, fov: float, size: tuple[int, int]) -> Image.Image:
        """Return what a camera sees.

        Args:
            yaw: degrees, from 0 to below 360.
            pitch: degrees; what is seen at one is worked out once.
            fov: degrees, from left to right.
            size: width and height of the picture in pixels, not higher than wide.
        """
        seen = self.cells[self.places(pitch, fov, size) + round(yaw / 360 * 2 * self.height) % (2 * self.height)]
        return Image.fromarray(seen.view(np.uint8).reshape(size[1], size[0], 4)[..., :3].copy(), "RGB")

    def _places(self, pitch: float, fov: float, size: tuple[int, int]) -> np.ndarray:
        """Return the cells that a camera sees which looks ahead, in the first of the two times around."""
        width, height = size
        above = (width - height) // 2
        directions = Camera(0, pitch, fov).directions(width)[above : above + height]
        columns, rows = canvas_places(directions, self.height)
        columns = np.round(columns).astype(np.int32) % (2 * self.height)
        rows = np.round(rows).astype(np.int32).clip(0, self.height - 1)
        return rows * 4 * self.height + columns
