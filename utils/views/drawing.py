"""Drawing on the way from a picture to a view of it: turning, flipping, flying. Pillow and NumPy alone."""

import math

import numpy as np
from PIL import Image

from utils.views.view_base import NEUTRAL

MARGIN = 2  # pixels of background around a turning picture, so that its edge is drawn smoothly
LIFT = 0.18  # how far a flying piece leaves the straight way, as share of that way


def turn(picture: Image.Image, degrees: float) -> Image.Image:
    """Turn a picture clockwise around its centre; what leaves it is cut off, what it uncovers is neutral."""
    size = picture.size[0] + 2 * MARGIN
    framed = Image.new("RGB", (size, size), NEUTRAL)
    framed.paste(picture, (MARGIN, MARGIN))
    turned = framed.rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=NEUTRAL)
    return turned.crop((MARGIN, MARGIN, size - MARGIN, size - MARGIN))


def turn_disc(picture: Image.Image, degrees: float, radius: float) -> Image.Image:
    """Turn the disc of ``radius`` (share of the side) clockwise; its surroundings stay."""
    size = picture.size[0]
    axis = np.arange(size) - (size - 1) / 2
    inside = radius * size + 0.5 - np.hypot(axis[:, None], axis[None, :])
    mask = Image.fromarray((inside.clip(0, 1) * 255).astype(np.uint8), "L")
    return Image.composite(picture.rotate(-degrees, Image.Resampling.BICUBIC), picture, mask)


def flip_card(picture: Image.Image, seen: Image.Image, share: float, upright: bool) -> Image.Image:
    """Turn a card over: ``picture`` on its face, ``seen`` on its back.

    Args:
        upright: around the upright axis, left to right; else around the level axis, top to bottom.
    """
    size = picture.size[0]
    narrow = max(round(size * abs(math.cos(math.pi * share)) / 2), 1) * 2 - size % 2
    corner = (size - narrow) // 2
    box, place = ((narrow, size), (corner, 0)) if upright else ((size, narrow), (0, corner))
    card = (picture if share < 0.5 else seen).resize(box, Image.Resampling.BICUBIC)
    frame = Image.new("RGB", picture.size, NEUTRAL)
    frame.paste(card, place)
    return frame


def backdrop(picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
    """Return what lies below flying pieces: one picture fading into the other, nearly neutral half way."""
    table = Image.new("RGB", picture.size, NEUTRAL)
    return Image.blend(picture if share < 0.5 else seen, table, math.sin(math.pi * share) ** 0.5)


def fly(start: np.ndarray, end: np.ndarray, share: float, lift: float = LIFT) -> np.ndarray:
    """Return where pieces are on curves from ``start`` to ``end``, ``[N, 2]`` each, rows and columns."""
    way = end - start
    sideways = np.stack([-way[:, 1], way[:, 0]], axis=1)
    return start + share * way + lift * math.sin(math.pi * share) * sideways


def fly_cells(
    picture: Image.Image, seen: Image.Image, source: np.ndarray, share: float, lift: float = LIFT
) -> Image.Image:
    """Let the cells of a grid change places.

    Args:
        picture, seen: RGB ``[h, h]`` before and after.
        source: int ``[n * n]``: which cell of ``picture`` each cell of ``seen`` shows.
        share: of the way, in (0, 1).
        lift: 0 is the straight way.
    """
    grid, size = math.isqrt(len(source)), picture.size[0]
    side = size // grid
    order = np.arange(grid * grid)
    end = np.stack([order // grid, order % grid], axis=1) * float(side)
    start = end[source]
    far = np.argsort(np.abs(end - start).sum(axis=1), kind="stable")  # those that go far are drawn last, on top
    start, end = start[far], end[far]
    place = fly(start, end, share, lift).round().clip(0, size - side).astype(np.int64)
    inside = np.arange(side)
    frame = np.array(backdrop(picture, seen, share))
    rows, columns = inside[None, :, None], inside[None, None, :]
    from_row, from_column = start.astype(np.int64)[:, :, None, None].swapaxes(0, 1)
    to_row, to_column = place[:, :, None, None].swapaxes(0, 1)
    frame[to_row + rows, to_column + columns] = np.asarray(picture)[from_row + rows, from_column + columns]
    return Image.fromarray(frame, "RGB")
