"""Capital letters drawn by a few strokes: faces that no font has, with other proportions, corners and ends each time.

Fonts draw a letter in a handful of ways, and a shape that is to be read from two sides must be one that both letters
can take. A hand that prints capitals is freer: an M may stand on three straight legs, an I may wear bars as wide as an
H is high, the foot of an L may be as long as its stem.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Stroke = list[tuple[float, float]]  # points from 0 to 1, x to the right, y down
DRAWN = 4  # times the mask's size: letters are drawn large and shrunk


def strokes(letter: str, rng: np.random.Generator) -> list[Stroke]:
    """Return the strokes of a capital, in proportions drawn anew; those that end where they begin are closed."""
    middle, half = rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6)
    reach, bar = rng.uniform(0.6, 1.0), rng.uniform(0.0, 0.25)
    waist = rng.uniform(0.42, 0.55)
    top = [(bar, 0.0), (1 - bar, 0.0)]
    ring: Stroke = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
    bowl: Stroke = [(0, 0), (reach, 0), (reach, waist), (0, waist)]
    three_legs = [[(0, 1), (0, 0), (1, 0), (1, 1)], [(half, 0), (half, reach)]]
    zigzag = [[(0, 1), (0, 0), (half, rng.uniform(0.35, 1.0)), (1, 0), (1, 1)]]
    lean = rng.uniform(0.0, 0.25)  # of legs that need not be upright
    peaks = [[(0, 1), (lean, 0), (half, rng.uniform(0.6, 1.0)), (1 - lean, 0), (1, 1)]]
    m = (three_legs, zigzag, peaks)[rng.integers(3)]
    return {
        "a": ([[(0, 1), (half, 0), (1, 1)], [(0.25, 0.65), (0.75, 0.65)]],
              [[(0, 1), (0, 0), (1, 0), (1, 1)], [(0, middle), (1, middle)]]),
        "b": ([[(0, 0), (reach, 0), (reach, waist), (0, waist)], [(0, waist), (1, waist), (1, 1), (0, 1)],
               [(0, 0), (0, 1)]],),
        "c": ([[(1, 0), (0, 0), (0, 1), (1, 1)]], [[(1, 0.2), (1, 0), (0, 0), (0, 1), (1, 1), (1, 0.8)]]),
        "d": ([[(0, 0), (1, 0), (1, 1), (0, 1)], [(0, 0), (0, 1)]],),
        "e": ([[(1, 0), (0, 0), (0, 1), (1, 1)], [(0, middle), (reach, middle)]],),
        "f": ([[(1, 0), (0, 0), (0, 1)], [(0, middle), (reach, middle)]],),
        "g": ([[(1, 0.15), (1, 0), (0, 0), (0, 1), (1, 1), (1, middle), (middle, middle)]],),
        "h": ([[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(0, middle), (1, middle)]],),
        "i": ([[(half, 0), (half, 1)], top, [(bar, 1), (1 - bar, 1)]], [[(0.5, 0), (0.5, 1)]]),
        "j": ([[(1, 0), (1, 1), (0, 1), (0, rng.uniform(0.4, 0.8))]],),
        "k": ([[(0, 0), (0, 1)], [(1, 0), (0, middle), (1, 1)]],
              [[(0, 0), (0, 1)], [(1, 0), (0.35, middle), (1, 1)], [(0, middle), (0.35, middle)]]),
        "l": ([[(0, 0), (0, 1), (1, 1)]],),
        "m": (m,),
        "n": ([[(0, 1), (0, 0), (1, 1), (1, 0)]],),
        "o": ([ring],),
        "p": ([[(0, 1), (0, 0)], bowl],),
        "q": ([ring, [(rng.uniform(0.45, 0.7), rng.uniform(0.5, 0.7)), (1.0, 1.0)]],),
        "r": ([[(0, 1), (0, 0)], bowl, [(0.4, waist), (1, 1)]],),
        "s": ([[(1, 0), (0, 0), (0, middle), (1, middle), (1, 1), (0, 1)]],),
        "t": ([[(0, 0), (1, 0)], [(half, 0), (half, 1)]],),
        "u": ([[(0, 0), (0, 1), (1, 1), (1, 0)]],),
        "v": ([[(0, 0), (half, 1), (1, 0)]],),
        "w": ([[(x, 1 - y) for x, y in stroke] for stroke in m],),
        "x": ([[(0, 0), (1, 1)], [(1, 0), (0, 1)]],),
        "y": ([[(0, 0), (half, middle), (1, 0)], [(half, middle), (half, 1)]],),
        "z": ([[(0, 0), (1, 0), (0, 1), (1, 1)]],),
    }[letter][0 if rng.random() < 0.7 else -1]  # fmt: skip


def cut_corners(stroke: Stroke, share: float, times: int = 3) -> Stroke:
    """Return a stroke with rounded corners (Chaikin's): every corner is cut off at a share of both its sides."""
    closed = stroke[0] == stroke[-1]
    points = np.array(stroke)
    for _ in range(times):
        before, after = points[:-1], points[1:]
        cut = np.stack([before + share * (after - before), after - share * (after - before)], 1).reshape(-1, 2)
        points = np.concatenate([cut, cut[:1]]) if closed else np.concatenate([points[:1], cut[1:-1], points[-1:]])
    return [(float(x), float(y)) for x, y in points]


def draw_letter(letter: str, size: int, rng: np.random.Generator, share: float, width: float) -> np.ndarray:
    """Draw a capital that fills a square as the glyphs of fonts do.

    Args:
        letter: in lower case.
        size: of the mask.
        rng: source of the proportions.
        share: how round corners are, 0 to 0.25.
        width: of the strokes, as a share of the letter's size.

    Returns:
        The mask, uint8 ``[size, size]``, slightly blurred.
    """
    large = size * DRAWN
    margin, pen = large / 12, width * large
    picture = Image.new("L", (large, large))
    canvas = ImageDraw.Draw(picture)
    inner = large - 2 * margin - pen
    for stroke in strokes(letter, rng):
        rounded = cut_corners(stroke, share) if share else stroke
        points = [(margin + pen / 2 + x * inner, margin + pen / 2 + y * inner) for x, y in rounded]
        canvas.line(points, fill=255, width=round(pen), joint="curve")
        for (x, y), neighbour in ((points[0], points[1]), (points[-1], points[-2])):
            square = not share and (x == neighbour[0] or y == neighbour[1])
            draw_end = canvas.rectangle if square else canvas.ellipse
            draw_end((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(1.3)))


def draw_face(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 26 masks of one hand, uint8 ``[26, size, size]``, and widths over heights, ``[26]``."""
    rng = np.random.default_rng(seed)
    share = rng.choice([0.0, rng.uniform(0.15, 0.25)])
    width = rng.uniform(0.12, 0.24)
    masks = [draw_letter(chr(ord("a") + index), size, rng, share, width) for index in range(26)]
    return np.stack(masks), np.exp(rng.normal(0.0, 0.2, 26)).astype(np.float32)
