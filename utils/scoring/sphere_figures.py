"""Can one see how a sphere was made? Figures of an equirectangular picture; of steps between pixels 1 is not at all.

Steps are absolute differences of neighbours, in the mean over channels. Wrap, seams and pole compare them with steps
elsewhere, as :mod:`utils.scoring.seams` does for strips; spread is what synchronised views disagree by, as in
SyncTweedies (https://arxiv.org/abs/2403.14370), and is told in the pictures' own unit.
"""

import functools
from collections.abc import Sequence

import numpy as np

from utils.sphere import Camera, canvas_directions, look

POLE_FOV = 90.0  # degrees, of the view that looks at a pole
POLE_RADIUS = 12.0  # degrees around a pole in which columns converge


def wrap(picture: np.ndarray) -> float:
    """Return the mean step from the last column to the first over the mean step between columns elsewhere.

    Args:
        picture: ``[H, W, C]``, rows of a sphere, all the way around.
    """
    steps = _steps(picture, axis=1).mean(axis=0)
    return _ratio(steps[-1], steps[:-1].mean())


def pole(sphere: np.ndarray) -> float:
    """Return the figure of :func:`pole_of` at the pole where it is larger, ``sphere``: ``[H, 2 H, C]``."""
    return max(pole_of(sphere, pitch) for pitch in (90, -90))


def pole_of(sphere: np.ndarray, pitch: int) -> float:
    """Return how much steps across the rays stand out around a pole, in a perspective view straight at it.

    Columns of the canvas converge there and show as a star where they do not agree. Steps along the rays at the same
    place are what they are compared with, so that it does not count what is drawn there, and a step is taken by the
    angle that it spans.

    Args:
        sphere: ``[H, 2 H, C]``.
        pitch: 90 for the upper pole, -90 for the lower one.
    """
    size = len(sphere) // 4 * 2  # even, so that no pixel lies on the pole; about as fine as the canvas
    view = look(sphere, Camera(0, pitch, POLE_FOV), size)
    right, down = view[:-1, 1:] - view[:-1, :-1], view[1:, :-1] - view[:-1, :-1]
    place = ((np.arange(size - 1) + 0.75) / size * 2 - 1) * np.tan(np.deg2rad(POLE_FOV / 2))  # amid three neighbours
    x, y = np.meshgrid(place, place)
    radius = np.hypot(x, y)
    across = np.abs(right * (-y / radius)[..., None] + down * (x / radius)[..., None]).mean(axis=-1)
    along = np.abs(right * (x / radius)[..., None] + down * (y / radius)[..., None]).mean(axis=-1)
    ahead = np.hypot(1, radius)  # a pixel away from the middle is further off, and seen at a slant
    across, along = across * ahead, along * ahead**2
    near = radius < np.tan(np.deg2rad(POLE_RADIUS))
    return _ratio(across[near].mean(), along[near].mean())


def pole_spread(sphere: np.ndarray) -> float:
    """Return how far the pixels of the first row differ, or of the last: one point, so that they are about the same.

    Args:
        sphere: ``[H, 2 H, C]``.

    Returns:
        The larger of both standard deviations, in the mean over channels, in the picture's unit.
    """
    return float(sphere[[0, -1]].std(axis=1).mean(axis=-1).max())


def seams(picture: np.ndarray, cameras: Sequence[Camera], first: int = 0, height: int | None = None) -> float:
    """Return how much steps stand out where views begin or end, or where one hands over to the next.

    Every step is compared with the mean of those elsewhere in its row and direction, since what a step between
    columns spans depends on the row.

    Args:
        picture: ``[h, 2 height, C]``, rows of a sphere.
        cameras: of the views.
        first: row of the sphere that comes first in the picture.
        height: of the sphere in rows, None where the picture is all of it.

    Returns:
        The larger of both figures.
    """
    edges = view_edges(tuple(cameras), first, first + len(picture), height or len(picture))
    anywhere = [np.logical_or(*pair) for pair in zip(*edges, strict=True)]
    return max(_stand_out(picture, lines, anywhere) for lines in edges)


@functools.lru_cache(maxsize=1)
def view_edges(
    cameras: tuple[Camera, ...], first: int, end: int, height: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return between which neighbours on a canvas views begin or end, and between which the nearest one changes.

    Args:
        cameras: of the views.
        first, end: the first of the canvas' rows, and the one after the last.
        height: of the whole sphere in rows.

    Returns:
        For both kinds: steps to the right ``[h, W]``, around the sphere, and steps down ``[h - 1, W]``, bool.
    """
    directions = canvas_directions(height)[first:end]
    ends = [np.zeros(directions.shape[:2], bool), np.zeros((len(directions) - 1, directions.shape[1]), bool)]
    nearest, distance = np.zeros(directions.shape[:2], int), np.full(directions.shape[:2], np.inf)
    for number, camera in enumerate(cameras):
        x, y, inside = camera.places(directions)
        ends = [np.logical_or(*pair) for pair in zip(ends, _changes(inside), strict=True)]
        away = np.where(inside, 1 - np.cos(np.pi / 2 * x) * np.cos(np.pi / 2 * y), np.inf)  # as weights of the blend
        nearest, distance = np.where(away < distance, number, nearest), np.minimum(away, distance)
    return ends, _changes(nearest)


def sharpness(picture: np.ndarray, first: int = 0, height: int | None = None) -> float:
    """Return the mean gradient over the sphere's area: steps to the next pixel, of the size they have at the horizon.

    Args:
        picture, first, height: as for :func:`seams`.
    """
    rows = (0.5 - (np.arange(first, first + len(picture)) + 0.5) / (height or len(picture))) * np.pi
    level = np.cos(rows)
    across = _steps(picture, axis=1).mean(axis=1).sum() / level.sum()  # a column is that much narrower
    down = np.average(_steps(picture, axis=0)[:-1].mean(axis=1), weights=(level[:-1] + level[1:]) / 2)
    return float((across + down) / 2)


def spread(views: np.ndarray, seen: np.ndarray) -> float:
    """Return by how much views differ from what is seen of their blend, |x - f(g(x))|: the mean absolute difference.

    Args:
        views, seen: values of the same pixels, before and after.
    """
    return float(np.abs(np.asarray(views, np.float64) - seen).mean())


def _steps(picture: np.ndarray, axis: int) -> np.ndarray:
    """Return the steps to the next row or column ``[H, W]``, those of the last one to the first."""
    values = picture.astype(np.float64)
    return np.abs(np.roll(values, -1, axis) - values).mean(axis=-1)


def _ratio(steps: float, elsewhere: float) -> float:
    """Return steps by those elsewhere; 1 where there are none at all, as in a picture of one colour."""
    if elsewhere == 0:
        return 1.0 if steps == 0 else np.inf
    return float(steps / elsewhere)


def _changes(cells: np.ndarray) -> list[np.ndarray]:
    return [np.roll(cells, -1, axis=1) != cells, cells[1:] != cells[:-1]]


def _stand_out(picture: np.ndarray, lines: Sequence[np.ndarray], anywhere: Sequence[np.ndarray]) -> float:
    """Return the mean step over lines, by what is expected in their rows: 1 where there are no lines."""
    found, expected = [], []
    for steps, on, near in zip((_steps(picture, 1), _steps(picture, 0)[:-1]), lines, anywhere, strict=True):
        elsewhere = np.logical_not(near)
        count = elsewhere.sum(axis=1)
        means = (steps * elsewhere).sum(axis=1) / np.maximum(count, 1)
        counted = on & (count > 0)[:, None]
        found.append(steps[counted])
        expected.append(np.repeat(means, counted.sum(axis=1)))
    return _ratio(np.concatenate(found).sum(), np.concatenate(expected).sum())
