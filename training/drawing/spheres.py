"""A canvas that closes around the viewer: skies, grounds and things that stand in a circle, as functions of direction.

The canvas is equirectangular (``utils/sphere.py``). Lengths are in heights of the eye above the ground: straight down,
the ground is one away. Noise takes points in space or in a plane, never columns, so that nothing shows at the poles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from training.drawing.strips import Colour, Point
from utils.sphere import canvas_directions

HEIGHT = 512
LATTICE = 32  # values along each axis of the noise, which repeats after them
PIXEL = 0.016  # angle that a pixel of a picture of 128 px shows, radians
CORNERS = 5  # points put into every edge of a polygon, since straight lines bend on the canvas

Stops = Sequence[tuple[float, Colour]]


@dataclass(frozen=True)
class Spot:
    """Where a thing is that faces the viewer; its own points are (to the right, up), with (0, 0) there.

    Attributes:
        azimuth: to the right from straight ahead, radians.
        distance: along the ground, or along the ray if it is raised.
        elevation: radians; the thing leans to face the viewer. Zero stands upright on the height of the eye.
        scale: of its own points.
    """

    azimuth: float
    distance: float = 1.0
    elevation: float = 0.0
    scale: float = 1.0

    def directions(self, points: np.ndarray) -> np.ndarray:
        """Return the directions, of any length, of points [N, 2] of the thing."""
        (sin_a, cos_a), (sin_e, cos_e) = ((np.sin(angle), np.cos(angle)) for angle in (self.azimuth, self.elevation))
        ahead = np.array([cos_e * sin_a, sin_e, cos_e * cos_a])
        right, up = np.array([cos_a, 0, -sin_a]), np.array([-sin_e * sin_a, cos_e, -sin_e * cos_a])
        return self.distance * ahead + self.scale * (points[:, :1] * right + points[:, 1:] * up)


@dataclass(frozen=True)
class Lying:
    """Where a thing lies on the ground, which must leave the point straight below free; its points are seen from above.

    Attributes:
        azimuth: to the right from straight ahead, radians.
        distance: along the ground.
        scale: of its own points.
    """

    azimuth: float
    distance: float
    scale: float = 1.0

    def directions(self, points: np.ndarray) -> np.ndarray:
        """Return the directions, of any length, of points [N, 2] of the thing."""
        sin, cos = np.sin(self.azimuth), np.cos(self.azimuth)
        right, ahead = np.array([cos, 0, -sin]), np.array([sin, 0, cos])
        shifted = points * self.scale + (0, self.distance)
        return np.array([0, -1, 0]) + shifted[:, :1] * right + shifted[:, 1:] * ahead


class Sphere:
    """An equirectangular canvas with colours in [0, 255].

    Attributes:
        rng: draws everything.
        directions: unit directions of the cells, float32 [H, 2H, 3].
        elevation: of the rows, degrees [H, 1].
    """

    def __init__(self, rng: np.random.Generator, height: int = HEIGHT):
        self.rng, self.height, self.width = rng, height, 2 * height
        self.directions = canvas_directions(height).astype(np.float32)
        self.elevation = 90 - (np.arange(height)[:, None] + 0.5) / height * 180
        self.azimuths = ((np.arange(self.width) + 0.5) / self.width - 0.5) * 2 * np.pi
        self.image = Image.new("RGB", (self.width, height))
        self.pen = ImageDraw.Draw(self.image)

    def finish(self) -> np.ndarray:
        """Return the picture, uint8 [H, 2H, 3]."""
        return np.array(self.image)

    def paint(self, colour: Colour | np.ndarray, opacity: np.ndarray | float = 1.0, first_row: int = 0) -> None:
        """Lay colours [h, 2H, 3] or broadcastable over the rows from ``first_row`` on, with an opacity [h, 2H]."""
        base = np.array(self.image, np.float32)
        rows = base[first_row : first_row + (opacity.shape[0] if isinstance(opacity, np.ndarray) else self.height)]
        rows += np.asarray(opacity, np.float32)[..., None] * (np.asarray(colour, np.float32) - rows)
        self.image = Image.fromarray(np.clip(base + 0.5, 0, 255).astype(np.uint8))
        self.pen = ImageDraw.Draw(self.image)

    def dome(self, stops: Stops) -> None:
        """Paint a gradient through ``(elevation in degrees, colour)`` stops, from low to high."""
        heights = [height for height, _ in stops]
        self.paint(np.stack([np.interp(self.elevation, heights, [c[i] for _, c in stops]) for i in range(3)], axis=-1))

    def clouds(self, colour: Colour, cover: float, size: float = 0.6, strength: float = 0.9) -> None:
        """Paint clouds, flat at the horizon and round overhead; ``cover`` is about the share that they hide."""
        places = self.directions[: self.height // 2] / (self.directions[: self.height // 2, :, 1:2] * 0.75 + 0.3)
        places = places * np.asarray((1, 0.6, 1), np.float32) / size
        field = 0.6 * self.noise(places) + 0.28 * self.noise(places * 2.1) + 0.12 * self.noise(places * 4.3)
        edge = np.quantile(field[field.shape[0] // 8 :: 8, ::8], 1 - cover)
        fade = np.clip(self.elevation[: self.height // 2] / 12, 0, 1)
        self.paint(colour, strength * np.clip((field - edge) * 9 + 0.3, 0, 1) * fade)

    def disc(self, spot: Spot, radius: float, colour: Colour, glow: float = 0.0) -> None:
        """Paint a sun or moon of a radius in radians; its glow reaches some radii beyond and is as opaque as told."""
        towards = spot.directions(np.zeros((1, 2)))[0].astype(np.float32)
        angle = np.arccos(np.clip(self.directions @ (towards / np.linalg.norm(towards)), -1, 1))
        if glow:
            self.paint(colour, glow * np.exp(-((angle / (3 * radius)) ** 2)))
        self.paint(np.asarray(colour) * 0.5 + 127, np.clip((radius - angle) * 80 + 0.5, 0, 1))

    def stars(self, amount: float, size: float = 0.016) -> None:
        """Scatter stars over the upper half; ``amount`` is the share of cells of 0.11 that hold one."""
        cells = self.directions[: self.height // 2] * 9 + self.rng.uniform(0, LATTICE, 3).astype(np.float32)
        corner = np.floor(cells)
        keys = self._lattice(3, 5)[tuple(corner.astype(int)[..., i] % LATTICE for i in range(3))]
        spread = np.linalg.norm(cells - corner - 0.35 - 0.3 * keys[..., :3], axis=-1) / 9
        bright = (keys[..., 3] < amount) * np.clip((size * (0.6 + keys[..., 4]) - spread) * 120, 0, 1)
        self.paint((255, 250, 226), bright * np.clip(self.elevation[: self.height // 2] / 8, 0, 1))

    def noise(self, points: np.ndarray) -> np.ndarray:
        """Return smooth noise in [0, 1] at points [..., D]; its values lie one apart."""
        lattice = self._lattice(points.shape[-1], 1)[..., 0]
        low = np.floor(points)
        part = points - low
        part, corner = part * part * (3 - 2 * part), low.astype(np.int32)
        total = np.zeros(points.shape[:-1], np.float32)
        for bits in np.ndindex(*[2] * points.shape[-1]):
            share = np.float32(1)
            for axis, bit in enumerate(bits):
                share = share * (part[..., axis] if bit else 1 - part[..., axis])
            total += share * lattice[tuple((corner[..., i] + bit) % LATTICE for i, bit in enumerate(bits))]
        return total

    def _lattice(self, dimensions: int, values: int) -> np.ndarray:
        return self.rng.random((*[LATTICE] * dimensions, values), np.float32)

    def curve(self, waves: int, octaves: int = 1) -> np.ndarray:
        """Return smooth noise in about [-1, 1] around the circle, with ``waves`` knots in the first octave, [2H]."""
        total, turn = np.zeros(self.width), (self.azimuths / (2 * np.pi)) % 1
        for octave in range(octaves):
            knots = self.rng.uniform(-1, 1, waves * 2**octave)
            at = turn * len(knots)
            low, part = at.astype(int) % len(knots), at % 1
            part = part * part * (3 - 2 * part)
            total += 0.55**octave * (knots[low] * (1 - part) + knots[(low + 1) % len(knots)] * part)
        return total

    def skyline(self, top: np.ndarray, colour: Colour | np.ndarray) -> None:
        """Fill everything below an elevation in degrees [2H]."""
        self.paint(colour, np.clip((top - self.elevation) * self.height / 180 + 0.5, 0, 1))

    def around(self, count: int, jitter: float = 0.35) -> list[float]:
        """Return ``count`` azimuths that cover the circle, in random order."""
        places = np.arange(count) + self.rng.uniform(-jitter, jitter, count) + self.rng.uniform()
        return (self.rng.permutation(places) / count * 2 * np.pi).tolist()

    def pick(self, colours: Sequence[Colour], spread: float = 10.0) -> Colour:
        """Return one of the colours, a little lighter or darker."""
        red, green, blue = colours[int(self.rng.integers(len(colours)))]
        shift = self.rng.uniform(-spread, spread)
        return red + shift, green + shift, blue + shift

    def polygon(self, spot: Spot | Lying, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon of points of a thing; it may not surround a pole."""
        corners = np.asarray(points, np.float64)
        steps = np.arange(CORNERS + 1)[None, :, None] / (CORNERS + 1)
        edges = (corners[:, None] * (1 - steps) + np.roll(corners, -1, axis=0)[:, None] * steps).reshape(-1, 2)
        right, up, ahead = spot.directions(edges).T
        turn = (np.arctan2(right, ahead) - spot.azimuth + np.pi) % (2 * np.pi) - np.pi
        middle = (spot.azimuth / (2 * np.pi) + 0.5) % 1
        columns = (turn / (2 * np.pi) + middle) * self.width - 0.5
        rows = (0.5 - np.arctan2(up, np.hypot(right, ahead)) / np.pi) * self.height - 0.5
        ink = tuple(int(np.clip(value, 0, 255)) for value in colour)
        for shift in (-self.width, 0, self.width):
            if columns.max() + shift >= 0 and columns.min() + shift < self.width:
                self.pen.polygon(list(zip((columns + shift).tolist(), rows.tolist(), strict=True)), fill=ink)

    def box(self, spot: Spot, left: float, bottom: float, right: float, top: float, colour: Colour) -> None:
        """Fill a rectangle of a thing."""
        self.polygon(spot, [(left, bottom), (right, bottom), (right, top), (left, top)], colour)

    def ellipse(self, spot: Spot | Lying, centre: Point, radii: Point, colour: Colour) -> None:
        """Fill an ellipse of a thing."""
        turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        points = np.stack([centre[0] + radii[0] * np.cos(turn), centre[1] + radii[1] * np.sin(turn)], axis=-1)
        self.polygon(spot, points.tolist(), colour)


class Plane:
    """A level plane above or below the eye, and textures in its own coordinates.

    Attributes:
        places: x and z of the cells that see it, float32 [H / 2, 2H, 2].
        reach: how far they are from the point straight below or above, [H / 2, 2H].
    """

    def __init__(self, sphere: Sphere, height: float = -1.0):
        self.sphere, self.height = sphere, height
        half = sphere.height // 2
        self.first_row = half if height < 0 else 0
        seen = sphere.directions[self.first_row : self.first_row + half]
        self.places = seen[..., ::2] * (height / seen[..., 1:2])
        self.reach = np.hypot(self.places[..., 0], self.places[..., 1])
        self.bearing = np.arctan2(self.places[..., 0], self.places[..., 1])

    def paint(self, colour: Colour | np.ndarray, opacity: np.ndarray | float = 1.0) -> None:
        """Lay colours over the plane."""
        self.sphere.paint(colour, np.broadcast_to(np.float32(opacity), self.reach.shape), self.first_row)

    def mixed(self, stops: Stops) -> np.ndarray:
        """Return colours [H / 2, 2H, 3] that pass through ``(reach, colour)`` stops outwards."""
        reaches = [reach for reach, _ in stops]
        return np.stack([np.interp(self.reach, reaches, [c[i] for _, c in stops]) for i in range(3)], axis=-1)

    def fade(self, size: float) -> np.ndarray:
        """Return how well things of a size can be told apart, from 1 below to 0 far off."""
        footprint = PIXEL * (self.reach**2 + self.height**2) / abs(self.height)
        return np.clip(1.6 - 1.6 * footprint / size, 0, 1)

    def noise(self, size: float, octaves: int = 1) -> np.ndarray:
        """Return smooth noise in [0, 1] with waves of about ``2 * size``, faded to 0.5 where it is too fine."""
        total, weight = np.zeros_like(self.reach), 0.0
        for octave in range(octaves):
            step = size / 2**octave
            shift = self.sphere.rng.uniform(0, LATTICE, 2).astype(np.float32)
            total += 0.5**octave * (self.sphere.noise(self.places / step + shift) - 0.5) * self.fade(step)
            weight += 0.5**octave
        return total / weight + 0.5

    def scatter(self, size: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Strew one dot into every square of a side of ``size``.

        Returns:
            Opacity of dots of a radius (a share of ``size``, below 0.5) [H / 2, 2H], and a random number for each.
        """
        cells = self.places / size + self.sphere.rng.uniform(0, LATTICE, 2).astype(np.float32)
        corner = np.floor(cells)
        at = tuple(corner.astype(int)[..., i] % LATTICE for i in range(2))
        keys = self.sphere.rng.random((LATTICE, LATTICE, 3), np.float32)[at]
        centre = radius + (1 - 2 * radius) * keys[..., :2]
        spread = np.linalg.norm(cells - corner - centre, axis=-1)
        return np.clip((radius - spread) * 14, 0, 1) * self.fade(size * radius * 2), keys[..., 2]

    def rings(self, size: float, squeeze: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lay stones in rings around the point below.

        Args:
            size: width of a ring.
            squeeze: length of a stone over its width.

        Returns:
            How far a cell is from the middle of its stone, along and across it, in halves of the stone's sides, and
            a random number for each stone, all [H / 2, 2H].
        """
        ring = np.floor(self.reach / size)
        count = np.maximum(1, np.round(2 * np.pi * (ring + 0.5) / squeeze))
        table = self.sphere.rng.random((4096,), np.float32)
        along = (self.bearing / (2 * np.pi) + table[ring.astype(int) % 4096]) % 1 * count
        stone = (ring * 97 + np.floor(along) * 31).astype(int)
        return along % 1 * 2 - 1, self.reach / size % 1 * 2 - 1, table[stone % 4096]
