"""A canvas for long strips: shapes, gradients and smooth noise in units of final pixels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

HEIGHT = 128
SCALE = 2  # strips are drawn this much larger and then averaged down

Colour = tuple[float, float, float]
Point = tuple[float, float]


class Strip:
    """A canvas in units of final pixels: x to the right, y down, colours in [0, 255]."""

    def __init__(self, rng: np.random.Generator, width: int):
        self.rng, self.width = rng, width
        self.image = Image.new("RGB", (width * SCALE, HEIGHT * SCALE))
        self.pen = ImageDraw.Draw(self.image)
        self.x = (np.arange(width * SCALE) + 0.5) / SCALE
        self.y = (np.arange(HEIGHT * SCALE) + 0.5)[:, None] / SCALE

    def finish(self) -> np.ndarray:
        """Return the picture averaged down, uint8 [128, width, 3]."""
        return np.asarray(self.image.reduce(SCALE))

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self.pen.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=_ink(colour))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse around a centre."""
        box = ((x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE)
        self.pen.ellipse(box, fill=_ink(colour))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a polyline with round joints."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.pen.line(scaled, fill=_ink(colour), width=max(1, round(width * SCALE)), joint="curve")

    def paint(self, colour: np.ndarray, opacity: np.ndarray | float) -> None:
        """Lay colours [h, w, 3] or broadcastable over the canvas with an opacity [h, w] in [0, 1]."""
        base = np.asarray(self.image, np.float32)
        alpha = np.broadcast_to(np.asarray(opacity, np.float32), base.shape[:2])[..., None]
        mixed = base + alpha * (np.asarray(colour, np.float32) - base)
        self.image = Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
        self.pen = ImageDraw.Draw(self.image)

    def gradient(self, stops: Sequence[tuple[float, Colour]]) -> np.ndarray:
        """Return colours [h, 1, 3] that pass through ``(y, colour)`` stops from top to bottom."""
        ys = [y for y, _ in stops]
        return np.stack([np.interp(self.y, ys, [c[i] for _, c in stops]) for i in range(3)], axis=-1)

    def below(self, top: np.ndarray, stops: Sequence[tuple[float, Colour]]) -> None:
        """Fill everything below a curve [w] with a vertical gradient."""
        self.paint(self.gradient(stops), (self.y > top).astype(np.float32))

    def curve(self, period: float, octaves: int = 1) -> np.ndarray:
        """Return smooth noise in about [-1, 1] along the strip, [w]."""
        total, weight = np.zeros_like(self.x), 0.0
        for octave in range(octaves):
            step, gain = period / 2**octave, 0.5**octave
            knots = self.rng.uniform(-1, 1, int(self.width / step) + 3)
            at = self.x / step + self.rng.uniform()
            low, part = at.astype(int), at % 1
            part = part * part * (3 - 2 * part)
            total += gain * (knots[low] * (1 - part) + knots[low + 1] * part)
            weight += gain
        return total / weight * 1.3

    def cloud(self, size_x: float, size_y: float) -> np.ndarray:
        """Return smooth noise in [0, 1] over the canvas, [h, w]."""
        shape = (int(HEIGHT / size_y) + 2, int(self.width / size_x) + 2)
        small = Image.fromarray(self.rng.uniform(0, 255, shape).astype(np.uint8))
        return np.asarray(small.resize(self.image.size, Image.Resampling.BICUBIC), np.float32) / 255

    def along(self, spacing: float, jitter: float = 0.35) -> np.ndarray:
        """Return positions about ``spacing`` apart that cover the strip and a little more, in random order."""
        places = np.arange(-2 * spacing, self.width + 2 * spacing, spacing) + self.rng.uniform(0, spacing)
        return self.rng.permutation(places + self.rng.uniform(-jitter, jitter, len(places)) * spacing)

    def pick(self, colours: Sequence[Colour], spread: float = 10.0) -> Colour:
        """Return one of the colours, a little lighter or darker."""
        red, green, blue = colours[self.rng.integers(len(colours))]
        shift = self.rng.uniform(-spread, spread)
        return red + shift, green + shift, blue + shift


def _ink(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (int(np.clip(value, 0, 255)) for value in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, part: float) -> Colour:
    """Return the colour that lies between two others; ``part`` 0 is the first, 1 the second."""
    red, green, blue = (a + (b - a) * part for a, b in zip(first, second, strict=True))
    return red, green, blue
