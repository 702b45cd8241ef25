"""Eleven kinds of wide landscapes, drawn procedurally as strips that look alike everywhere along their length.

Every strip is 128 px high. Its composition is drawn once: tint of the sky, clouds, how high, how wide and how far apart
things are. Nothing in it depends on the horizontal position, so a random crop of a strip is as good a picture of the
scene as any other, and faces that look left are always the bright ones, so neighbouring crops agree.
"""

import itertools
from collections.abc import Callable

import numpy as np
from PIL import ImageFilter

from training.drawing.landscape_captions import captions
from training.drawing.strips import HEIGHT, SCALE, Colour, Point, Strip, mix

Stops = list[tuple[float, Colour]]

__all__ = ["HEIGHT", "SCENES", "captions", "draw_pool", "draw_strip"]


def _sky(strip: Strip, first: Stops, second: Stops) -> None:
    """Paint a sky somewhere between two, whose stops lie at the same heights."""
    part = strip.rng.uniform()
    strip.paint(strip.gradient([(y, mix(a, b, part)) for (y, a), (_, b) in zip(first, second, strict=True)]), 1.0)


def _disc(strip: Strip, span: Point, colour: Colour, radius: float = 10.0) -> list[float]:
    """Draw suns or moons with their glow, one in 2000 px, all of a strip equally high, and return their places."""
    y, places = strip.rng.uniform(*span), strip.along(2000).tolist()
    for x in places:
        far = np.hypot(strip.x - x, strip.y - y)
        strip.paint(np.float32(colour), 0.55 * np.exp(-((far / (2.6 * radius)) ** 2)))
        strip.ellipse(x, y, radius, radius, mix(colour, (255, 255, 250), 0.5))
    return places


def _clouds(strip: Strip, bottom: float, colour: Colour, strength: float = 0.9) -> None:
    field, cover = 0.65 * strip.cloud(46, 12) + 0.35 * strip.cloud(20, 6), strip.rng.uniform(0.46, 0.64)
    strip.paint(colour, strength * np.clip((field - cover) * 5, 0, 1) * np.clip((bottom - strip.y) / 20, 0, 1))


def _flank(strip: Strip, start: Point, end: Point, rough: float, parts: int = 6) -> list[Point]:
    """Return a jagged line from a summit down to a foot."""
    at = np.linspace(0, 1, parts + 1)
    shift = strip.rng.uniform(-rough, rough, parts + 1) * np.sin(np.pi * at) ** 0.5
    xs = start[0] + (end[0] - start[0]) * at + shift
    ys = start[1] + (end[1] - start[1]) * at
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _peak(strip: Strip, summit: Point, base: float, half: float, faces: tuple[Colour, Colour], snow: float) -> None:
    """Draw a mountain with a bright left face, a dark right face and snow on the upper part."""
    x, top = summit
    rough = half * 0.12
    left = _flank(strip, summit, (x - half * strip.rng.uniform(0.8, 1.2), base), rough)
    middle = _flank(strip, summit, (x + half * strip.rng.uniform(-0.1, 0.3), base), rough * 1.6)
    right = _flank(strip, summit, (x + half * strip.rng.uniform(0.8, 1.2), base), rough)
    strip.polygon(left + middle[::-1], faces[0])
    strip.polygon(middle + right[::-1], faces[1])
    if snow > 0:
        _snow(strip, (left, middle, right), top + snow)


def _snow(strip: Strip, lines: tuple[list[Point], list[Point], list[Point]], level: float) -> None:
    left, middle, right = ([p for p in line if p[1] < level] or line[:1] for line in lines)
    (xl, yl), (xm, ym), (xr, _) = left[-1], middle[-1], right[-1]
    dip = 0.25 * (ym - lines[0][0][1]) + 2
    hem = [((xl * 2 + xm) / 3, yl + dip), ((xl + xm * 2) / 3, ym - dip)]
    strip.polygon([*left, *hem, *middle[::-1]], (250, 248, 255))
    strip.polygon([*middle, ((xm + xr) / 2, ym - dip), *right[::-1]], (176, 184, 226))


def _range(
    strip: Strip, spacing: float, tops: tuple[float, float], base: float, faces: tuple[Colour, Colour], snow: float = 0
) -> None:
    """Draw a chain of mountains, the tall ones behind the low ones."""
    places = strip.along(spacing)
    heights = np.sort(strip.rng.uniform(*tops, len(places)))
    for x, top in zip(places, heights, strict=True):
        half = (base - top) * strip.rng.uniform(0.75, 1.05)
        shift = strip.rng.uniform(-8, 8)
        shaded = tuple((red + shift, green + shift, blue + shift) for red, green, blue in faces)
        _peak(strip, (x, top), base, half, shaded, snow * strip.rng.uniform(0.6, 1.2))


def twilight(strip: Strip) -> None:
    """Snowy peaks in front of a purple and orange sky."""
    rng = strip.rng
    dusk = [(0, (38, 28, 84)), (28, (104, 54, 132)), (52, (206, 92, 128)), (72, (255, 160, 98)), (90, (255, 214, 140))]
    blue = [(0, (22, 30, 88)), (28, (58, 66, 150)), (52, (134, 104, 176)), (72, (232, 140, 150)), (90, (255, 190, 150))]
    _sky(strip, dusk, blue)
    _disc(strip, (14, 30), (244, 226, 226), 8)
    _clouds(strip, 60, (148, 66, 124), 0.7)
    high, size = rng.uniform(26, 56), rng.uniform(0.8, 1.35)
    _range(strip, 62 * size, (high, high + 20), 112, ((128, 98, 156), (70, 52, 112)), snow=rng.uniform(16, 32))
    low = rng.uniform(70, 86)
    _range(strip, 54 * size, (low, low + 14), 126, ((82, 64, 120), (46, 36, 84)))
    strip.below(106 + 5 * strip.curve(70, 2), [(98, (44, 34, 70)), (128, (18, 14, 36))])


def canyon(strip: Strip) -> None:
    """Flat-topped mesas and buttes with banded cliffs above a river, under a sunset sky."""
    rng = strip.rng
    rose = [(0, (92, 84, 156)), (24, (222, 118, 128)), (48, (255, 170, 96)), (74, (255, 226, 150))]
    gold = [(0, (106, 130, 190)), (24, (190, 170, 180)), (48, (255, 196, 120)), (74, (255, 236, 170))]
    _sky(strip, rose, gold)
    _disc(strip, (28, 62), (255, 232, 150))
    _clouds(strip, 42, (255, 150, 116), 0.8)
    for x in strip.along(rng.uniform(56, 90)):
        haze = ((214, 146, 136), (196, 124, 126), (176, 110, 122))
        _mesa(strip, (x, rng.uniform(52, 62)), (78, 90), rng.uniform(10, 30), haze)
    strip.below(84 + 1.5 * strip.curve(60), [(82, (232, 146, 82)), (112, (186, 90, 52))])
    spacing, high, wide = rng.uniform(76, 120), rng.uniform(22, 42), rng.uniform(0.14, 0.32)
    for x in strip.along(spacing, 0.2):
        stone = ((238, 132, 66), (204, 88, 48), (150, 54, 44))
        top, foot = high + rng.uniform(-4, 18), rng.uniform(96, 102)
        _mesa(strip, (x, top), (foot - 22, foot), spacing * wide * rng.uniform(0.6, 1.4), stone)
    bank, river = 103 + 1.5 * strip.curve(80), rng.uniform(5, 11)
    strip.below(bank, [(100, (96, 146, 206)), (112, (56, 104, 172))])
    strip.below(bank + river, [(104, (176, 78, 48)), (128, (112, 42, 36))])
    for x in strip.along(rng.uniform(16, 40), 0.5):
        strip.ellipse(x, rng.uniform(118, 127), rng.uniform(4, 6), 3.4, strip.pick([(96, 84, 46), (76, 62, 42)], 6))


def _mesa(strip: Strip, summit: Point, feet: Point, half: float, stone: tuple[Colour, Colour, Colour]) -> None:
    """Draw a rock with a flat top, a steep banded cliff down to the first of two feet and a slope of rubble below it.

    Args:
        summit: middle of the top.
        feet: heights at which cliff and slope end.
        half: half the width of the top.
        stone: colours of the light bands, the dark bands and the shadow.
    """
    (x, top), (ledge, foot) = summit, feet
    light, dark, shadow = stone
    spread, edge = (foot - ledge) * 0.95, x + half * strip.rng.uniform(0.3, 0.6)
    slope = [(x - half - 3, ledge - 1), (x + half + 3, ledge - 1), (x + half + spread, foot), (x - half - spread, foot)]
    strip.polygon(slope, mix(light, dark, 0.5))
    strip.polygon([(edge, ledge - 1), *slope[1:3], (edge + spread * 0.4, foot)], mix(dark, shadow, 0.7))
    bands = np.linspace(top, ledge, 6).tolist()
    for row, (upper, lower) in enumerate(itertools.pairwise(bands)):
        bulge = 1.2 * (row % 2) + row * 0.6
        colour = dark if row % 2 else light
        strip.box(x - half - bulge, upper, edge, lower, colour)
        strip.box(edge, upper, x + half + bulge, lower, mix(colour, shadow, 0.75))
    strip.box(x - half - 1.5, top - 2, x + half + 1.5, top + 1.5, mix(light, (255, 236, 190), 0.45))


def city(strip: Strip) -> None:
    """Skyscrapers with lit windows at night, mirrored in a river."""
    rng = strip.rng
    violet = [(0, (8, 8, 34)), (56, (44, 28, 92)), (100, (138, 70, 122))]
    blue = [(0, (6, 12, 40)), (56, (24, 44, 100)), (100, (84, 110, 160))]
    _sky(strip, violet, blue)
    _disc(strip, (14, 28), (236, 232, 200), 8)
    back = rng.uniform(30, 66)
    for x in strip.along(rng.uniform(17, 26)):
        half = rng.uniform(8, 14)
        strip.box(x - half, back + rng.uniform(-6, 30), x + half, 110, strip.pick([(50, 40, 98), (62, 48, 112)], 5))
    roofs, low = rng.uniform(18, 56), rng.uniform(20, 40)
    for x in strip.along(rng.uniform(24, 38), 0.25):
        _tower_block(strip, (x, roofs + rng.uniform(-low / 3, low)))
    strip.box(0, 106, strip.width, 110, (232, 170, 86))
    _mirror(strip, 109, (10, 12, 44), 0.45)


def _tower_block(strip: Strip, roof_middle: Point) -> None:
    rng, (x, top) = strip.rng, roof_middle
    columns = int(rng.integers(2, 5))
    half = columns * 3.5 + 2
    wall = strip.pick([(16, 18, 44), (26, 22, 54), (18, 30, 58)], 4)
    roof = rng.integers(4)
    if roof == 0:
        strip.polygon([(x - half, top), (x, top - 12), (x + half, top)], wall)
    elif roof == 1:
        strip.box(x - half / 2, top - 7, x + half / 2, top, wall)
        strip.line([(x, top - 16), (x, top - 6)], 1.5, wall)
    strip.box(x - half, top, x + half, 110, wall)
    strip.box(x - half, top, x - half + 1.5, 110, mix(wall, (120, 130, 200), 0.5))
    light = strip.pick([(255, 220, 120), (255, 200, 96), (255, 236, 170), (170, 214, 255)], 5)
    for column in range(columns):
        left = x - half + 3.5 + column * 7
        for row in np.arange(top + 4, 102, 8):
            if rng.uniform() < 0.62:
                strip.box(left, row, left + 4, row + 5, light)


def _mirror(strip: Strip, shore: int, colour: Colour, depth: float) -> None:
    """Reflect what stands above the shore line in rippled water below it."""
    pixels = np.asarray(strip.image.filter(ImageFilter.GaussianBlur(SCALE)), np.float32)
    line = shore * SCALE
    count = HEIGHT * SCALE - line
    rows = np.clip(line - 1 - (np.arange(count) * 1.3).astype(int), 0, line - 1)
    canvas = np.asarray(strip.image, np.float32).copy()
    canvas[line:] = pixels[rows]
    strip.paint(canvas, 1.0)
    ripple = 0.18 * (np.sin(strip.y * 1.3 + 2.5 * strip.curve(50)) > 0.3)
    strip.paint(np.asarray(colour, np.float32), np.where(strip.y >= shore, depth + ripple, 0.0))


def beach(strip: Strip) -> None:
    """Palms and boats at the sea in the glow of sunrise."""
    rng = strip.rng
    rose = [(0, (112, 132, 206)), (22, (214, 146, 188)), (42, (255, 168, 120)), (58, (255, 226, 132))]
    gold = [(0, (110, 176, 224)), (22, (186, 204, 220)), (42, (255, 206, 150)), (58, (255, 234, 160))]
    _sky(strip, rose, gold)
    suns = _disc(strip, (30, 58), (255, 236, 150))
    _clouds(strip, 48, (255, 206, 186), 0.8)
    strip.below(np.full_like(strip.x, 58), [(58, (250, 190, 120)), (70, (112, 150, 184)), (96, (40, 148, 172))])
    wave = np.sin(strip.y**0.5 * 13 + 2.2 * strip.curve(40)) > 0.72
    glitter = sum(np.clip(1 - abs(strip.x - x) / 16, 0, 1) for x in suns)
    sea = (strip.y > 58) & (strip.y < 90)
    strip.paint(np.float32((255, 226, 170)), sea * np.clip(0.45 * wave + 0.5 * glitter, 0, 0.8))
    for x in strip.along(rng.uniform(120, 320)):
        _boat(strip, x, rng.uniform(66, 74))
    shore = rng.uniform(90, 98) + 4 * strip.curve(60, 2)
    strip.below(shore - 4, [(85, (255, 252, 244)), (105, (255, 246, 232))])
    strip.below(shore, [(90, (190, 142, 84)), (104, (240, 198, 120)), (128, (252, 214, 134))])
    size, spacing = rng.uniform(0.82, 1.12), rng.uniform(1.0, 1.7)
    for x in strip.along(64 * size * spacing, 0.18):
        _palm(strip, (x, rng.uniform(110, 122)), size * rng.uniform(0.92, 1.08))


def _boat(strip: Strip, x: float, y: float) -> None:
    strip.polygon([(x - 1, y - 20), (x - 1, y - 3), (x - 10, y - 3)], (255, 250, 240))
    strip.polygon([(x + 1, y - 22), (x + 1, y - 3), (x + 11, y - 3)], (238, 214, 206))
    strip.polygon([(x - 12, y - 2), (x + 12, y - 2), (x + 8, y + 4), (x - 8, y + 4)], (120, 54, 44))


def _palm(strip: Strip, root: Point, size: float) -> None:
    """Draw a palm of about 78 px times ``size`` with a thick trunk and nine fronds."""
    rng, (x, foot) = strip.rng, root
    height, lean = 66 * size, rng.uniform(-10, 10) * size
    strip.ellipse(x + 7 * size, foot, 14 * size, 3, (196, 142, 82))
    at = np.linspace(0, 1, 14).tolist()
    for t in at:
        wide = (4.6 - 1.4 * t) * size
        px, py = x + lean * t**1.6, foot - height * t
        strip.ellipse(px, py, wide, height / 16, (84, 52, 38))
        strip.ellipse(px - wide * 0.4, py, wide * 0.4, height / 24, (140, 94, 60))
    crown = (x + lean, foot - height)
    greens: list[Colour] = [(20, 66, 44), (34, 98, 50), (58, 128, 54)]
    for number, angle in enumerate(np.deg2rad([-38, 218, -8, 188, 20, 160, 52, 128, 90])):
        _frond(
            strip,
            crown,
            angle + rng.uniform(-0.1, 0.1),
            25 * size,
            strip.pick(greens[number // 3 : number // 3 + 1], 6),
        )
    for shift in (-3.0, 3.0):
        strip.ellipse(crown[0] + shift * size, crown[1] + 3 * size, 2.6 * size, 2.6 * size, (70, 40, 28))


def _frond(strip: Strip, root: Point, angle: float, length: float, colour: Colour) -> None:
    at = np.linspace(0, 1, 10)
    xs = root[0] + np.cos(angle) * length * at
    ys = root[1] - np.sin(angle) * length * 0.8 * at + 0.42 * length * at**2
    wide = length * (0.15 * np.sin(np.pi * np.linspace(0.1, 1, 10)) ** 0.7 + 0.01)
    upper = list(zip(xs.tolist(), (ys - wide * 0.7).tolist(), strict=True))
    lower = list(zip(xs.tolist(), (ys + wide).tolist(), strict=True))
    strip.polygon(upper + lower[::-1], colour)


def dunes(strip: Strip) -> None:
    """Smooth dunes, each with a bright and a shadowed side."""
    rng = strip.rng
    noon = [(0, (64, 138, 218)), (34, (140, 194, 234)), (62, (250, 226, 178))]
    evening = [(0, (104, 128, 196)), (34, (214, 184, 194)), (62, (255, 212, 150))]
    _sky(strip, noon, evening)
    _disc(strip, (16, 48), (255, 244, 200))
    _clouds(strip, 40, (255, 246, 236), rng.uniform(0, 0.8))
    size, lift, rough = rng.uniform(0.75, 1.5), rng.uniform(-14, 12), rng.uniform(5, 13)
    for top, base, spacing, haze in [(58, 78, 64, 0.35), (74, 96, 84, 0.15), (96, 128, 110, 0.0)]:
        for x in strip.along(spacing * size):
            summit = top + lift * (128 - top) / 70 + rng.uniform(-rough, rough)
            _dune(strip, x, summit, base + 34, spacing * size * 1.1, haze)


def _dune(strip: Strip, x: float, top: float, base: float, half: float, haze: float) -> None:
    lit = mix(strip.pick([(240, 184, 96), (246, 194, 108)], 6), (250, 226, 178), haze)
    dark = mix(strip.pick([(158, 96, 52), (168, 104, 58)], 5), (250, 226, 178), haze)
    at = np.linspace(0, 1, 24)
    sag = at**0.75 * (1 - 0.25 * np.sin(np.pi * at))
    ys = (top + (base - top) * sag**1.25).tolist()
    left = list(zip((x - half * at * 1.25).tolist(), ys, strict=True))
    right = list(zip((x + half * at).tolist(), ys, strict=True))
    bend = strip.rng.uniform(0.12, 0.28) * half
    ridge = list(zip((x + bend * np.sin(4.2 * at) * (0.4 + at)).tolist(), ys, strict=True))
    strip.polygon(left + ridge[::-1], lit)
    strip.polygon(ridge + right[::-1], dark)
    strip.line(ridge, 1.2, mix(lit, (255, 240, 190), 0.6))


def forest(strip: Strip) -> None:
    """Dense red, orange and golden trees."""
    rng = strip.rng
    _sky(strip, [(0, (150, 196, 230)), (60, (236, 232, 214))], [(0, (214, 206, 206)), (60, (250, 232, 200))])
    strip.below(84 + 3 * strip.curve(60), [(80, (150, 96, 48)), (128, (202, 124, 48))])
    leaves: list[Colour] = [(204, 44, 34), (226, 98, 28), (240, 150, 34), (238, 184, 52), (176, 50, 36)]
    shares, size, lift = rng.dirichlet(np.full(len(leaves), 0.8)), rng.uniform(0.8, 1.3), rng.uniform(-6, 8)
    rows = [(15, 30, 84, 0.4), (24, 42, 98, 0.15), (40, 52, 117, 0.0)]
    for spacing, middle, foot, haze in rows:
        for x in strip.along(spacing * size):
            leaf = leaves[rng.choice(len(leaves), p=shares)]
            span = (middle + lift + rng.uniform(-7, 7), foot + rng.uniform(-3, 3))
            _tree(strip, x, span, spacing * size * 0.5, (leaf, haze))


def _tree(strip: Strip, x: float, span: Point, radius: float, look: tuple[Colour, float]) -> None:
    middle, foot = span
    colour, haze = look
    far = (214, 168, 128)
    leaf = mix(strip.pick([colour], 8), far, haze)
    bark = mix((74, 46, 34), far, haze)
    radius = max(radius, 9.0)
    strip.polygon([(x - radius * 0.1, middle), (x + radius * 0.1, middle), (x + radius * 0.17, foot),
                   (x - radius * 0.17, foot)], bark)  # fmt: skip
    angles = np.linspace(0, 2 * np.pi, 7) + strip.rng.uniform(0, 1)
    for shade, lift, size in ((0.28, 0.0, 0.62), (0.0, -0.18, 0.5)):
        for angle in angles:
            px, py = x + radius * 0.6 * np.cos(angle), middle + radius * 0.62 * np.sin(angle)
            strip.ellipse(px + lift * radius, py + lift * radius, radius * size, radius * size,
                          mix(leaf, (70, 20, 24), shade))  # fmt: skip
    for _ in range(4):
        dx, dy = strip.rng.uniform(-0.7, 0.2, 2) * radius
        strip.ellipse(x + dx, middle + dy, radius * 0.24, radius * 0.24, mix(leaf, (255, 230, 150), 0.45))


def town(strip: Strip) -> None:
    """Gabled timber houses and towers along a cobbled street."""
    rng = strip.rng
    _sky(strip, [(0, (96, 160, 220)), (60, (220, 232, 236))], [(0, (130, 150, 196)), (60, (250, 226, 196))])
    _clouds(strip, 50, (250, 250, 250))
    strip.below(rng.uniform(52, 76) + 6 * strip.curve(90, 2), [(50, (122, 164, 116)), (100, (92, 134, 92))])
    for x in strip.along(rng.uniform(80, 260)):
        _spire(strip, x)
    back, front = rng.uniform(52, 70), rng.uniform(68, 82)
    for x in strip.along(rng.uniform(28, 46), 0.2):
        _house(strip, x, (back + rng.uniform(-5, 5), 96), 14, 0.3)
    for x in strip.along(rng.uniform(40, 56), 0.12):
        _house(strip, x, (front + rng.uniform(-5, 5), 110), 18, 0.0)
    _cobbles(strip, 109)


def _spire(strip: Strip, x: float) -> None:
    top = strip.rng.uniform(34, 46)
    strip.box(x - 9, top, x, 100, (206, 192, 166))
    strip.box(x, top, x + 9, 100, (164, 148, 128))
    strip.polygon([(x - 12, top), (x, top - 32), (x + 12, top)], (66, 84, 122))
    strip.polygon([(x, top - 32), (x + 12, top), (x + 1, top)], (44, 58, 92))
    strip.box(x - 3, top + 7, x + 3, top + 18, (54, 46, 54))


def _house(strip: Strip, x: float, span: Point, half: float, haze: float) -> None:
    top, foot = span
    pale = (214, 206, 196)
    wall = mix(strip.pick([(246, 230, 196), (238, 206, 150), (232, 180, 150), (206, 216, 214)], 5), pale, haze)
    roof = mix(strip.pick([(190, 66, 44), (168, 54, 44), (206, 92, 52)], 6), pale, haze * 0.6)
    beam, glass = mix((96, 60, 42), pale, haze), mix((58, 72, 104), pale, haze)
    strip.box(x - half, top, x + half, foot, wall)
    strip.box(x - half, top, x - half + 2, foot, beam)
    strip.box(x + half - 2, top, x + half, foot, beam)
    middle = (top + foot) / 2
    strip.box(x - half, middle - 1, x + half, middle + 1, beam)
    for left in (x - half * 0.62, x + half * 0.18):
        strip.box(left, top + 4, left + half * 0.44, middle - 4, glass)
    strip.box(x - half * 0.62, middle + 5, x - half * 0.18, foot - 5, glass)
    strip.box(x + half * 0.15, middle + 4, x + half * 0.65, foot, beam)
    peak = top - half * 1.35
    strip.polygon([(x - half - 3, top + 1), (x, peak), (x + half + 3, top + 1)], roof)
    strip.polygon([(x, peak), (x + half + 3, top + 1), (x + 3, top + 1)], mix(roof, (60, 10, 30), 0.3))


def _cobbles(strip: Strip, top: float) -> None:
    strip.box(0, top, strip.width, HEIGHT, (104, 94, 92))
    for row, y in enumerate(np.arange(top + 4, HEIGHT + 4, 6.5)):
        for x in np.arange(-12, strip.width + 12, 12) + 6 * (row % 2):
            strip.ellipse(x, y, 5.2, 2.7, strip.pick([(170, 158, 148), (150, 140, 136)], 8))


def lake(strip: Strip) -> None:
    """Layers of misty mountains and pines mirrored in still water."""
    rng = strip.rng
    cool = [(0, (146, 182, 212)), (70, (238, 242, 244))]
    warm = [(0, (164, 172, 206)), (70, (250, 230, 220))]
    _sky(strip, cool, warm)
    lift, size = rng.uniform(-8, 14), rng.uniform(0.85, 1.4)
    for spacing, tops, faces, mist in (
        (74, (18, 34), ((170, 192, 212), (140, 166, 192)), 0.95),
        (64, (36, 50), ((122, 156, 172), (92, 128, 150)), 0.9),
        (56, (56, 64), ((74, 116, 122), (50, 90, 100)), 0.8),
    ):
        high, low = (top + lift * (84 - top) / 66 for top in tops)
        _range(strip, spacing * size, (high, low), 84, faces)
        fade = np.clip((strip.y - low - 2) / (80 - low), 0, 1)
        strip.paint(np.float32((236, 242, 244)), mist * fade * (0.7 + 0.3 * strip.cloud(40, 30)))
    strip.below(80 + 1.0 * strip.curve(40), [(78, (44, 78, 76)), (86, (36, 64, 66))])
    tall = rng.uniform(14, 30)
    for x in strip.along(rng.uniform(24, 70), 0.5):
        for shift in rng.uniform(-10, 10, 2):
            _pine(strip, x + shift, 82, tall * rng.uniform(0.8, 1.2))
    _mirror(strip, 83, (120, 158, 184), 0.3)


def _pine(strip: Strip, x: float, foot: float, height: float) -> None:
    for level in range(3):
        low = foot - height * level * 0.27
        half = height * (0.3 - 0.07 * level)
        strip.polygon([(x - half, low), (x, low - height * 0.46), (x, low)], (50, 96, 84))
        strip.polygon([(x, low - height * 0.46), (x + half, low), (x, low)], (28, 62, 62))


def great_wall(strip: Strip) -> None:
    """A crenellated wall with watchtowers along green ridges."""
    rng = strip.rng
    _sky(strip, [(0, (100, 162, 220)), (60, (234, 232, 214))], [(0, (132, 156, 204)), (60, (252, 226, 190))])
    _clouds(strip, 40, (252, 250, 246))
    high = rng.uniform(16, 40)
    _range(strip, 76 * rng.uniform(0.8, 1.3), (high, high + 20), 100, ((150, 174, 190), (116, 142, 168)))
    _range(strip, 66, (46, 62), 110, ((112, 150, 112), (74, 112, 90)))
    crest = rng.uniform(66, 80) + rng.uniform(8, 20) * strip.curve(rng.uniform(54, 90))
    _wall(strip, crest, rng.uniform(72, 140))
    light, autumn = np.clip(np.gradient(crest, strip.x)[None, :] * -60, -26, 26), rng.uniform(0, 0.5)
    grass = [(60, mix((122, 150, 62), (190, 140, 50), autumn)), (128, mix((44, 84, 40), (110, 84, 40), autumn))]
    green = strip.gradient(grass) + light[..., None]
    strip.paint(green, (strip.y > crest + 9).astype(np.float32))
    _range(strip, 60, (104, 116), 150, ((84, 122, 54), (48, 84, 44)))


def _wall(strip: Strip, crest: np.ndarray, towers: float) -> None:
    stone, dark = (214, 186, 146), (150, 120, 96)
    merlon = np.where((strip.x % 8) < 4.5, 4.0, 0.0)
    strip.paint(np.float32(stone), ((strip.y > crest - 2 - merlon) & (strip.y < crest + 11)).astype(np.float32))
    strip.paint(np.float32(dark), ((strip.y > crest + 3) & (strip.y < crest + 11)).astype(np.float32))
    for x in np.sort(strip.along(towers, 0.2)):
        y = float(np.interp(x, strip.x, crest))
        strip.box(x - 12, y - 22, x + 2, y + 16, stone)
        strip.box(x + 2, y - 22, x + 12, y + 16, dark)
        for left in (x - 14, x - 4, x + 6):
            strip.box(left, y - 28, left + 7, y - 20, stone)
        strip.box(x - 14, y - 22, x + 14, y - 19, (232, 206, 168))
        strip.box(x - 7, y - 13, x - 1, y - 3, (74, 56, 50))


def lavender(strip: Strip) -> None:
    """Rows of purple bushes in front of hills, trees and farmhouses."""
    rng = strip.rng
    _sky(strip, [(0, (92, 158, 226)), (50, (236, 232, 226))], [(0, (140, 150, 210)), (50, (255, 222, 190))])
    _clouds(strip, 40, (254, 250, 248))
    strip.below(rng.uniform(32, 48) + 6 * strip.curve(80, 2), [(30, (148, 168, 190)), (60, (160, 178, 178))])
    strip.below(rng.uniform(48, 56) + 3 * strip.curve(60), [(48, (128, 166, 96)), (64, (98, 140, 78))])
    farms, tall = rng.uniform(0.1, 0.6), rng.uniform(20, 42)
    for x in strip.along(rng.uniform(36, 110)):
        if rng.uniform() < farms:
            _farm(strip, x)
        else:
            _cypress(strip, x, tall * rng.uniform(0.85, 1.15))
    strip.box(0, 58, strip.width, HEIGHT, (92, 118, 66))
    y, size = 61.0, 3.2
    while y - size < HEIGHT:
        _lavender_row(strip, y, size)
        y, size = y + size * 2.5, size * 1.3


def _lavender_row(strip: Strip, y: float, size: float) -> None:
    for x in np.sort(strip.along(size * 1.5, 0.15)):
        bush = strip.pick([(126, 72, 188), (112, 58, 176), (140, 84, 200)], 8)
        strip.ellipse(x, y + size * 0.35, size, size * 0.85, mix(bush, (40, 20, 80), 0.45))
        strip.ellipse(x - size * 0.15, y, size * 0.86, size * 0.72, bush)
        strip.ellipse(x - size * 0.35, y - size * 0.25, size * 0.42, size * 0.32, mix(bush, (236, 200, 255), 0.5))


def _cypress(strip: Strip, x: float, height: float) -> None:
    strip.box(x - 1.5, 50, x + 1.5, 60, (86, 60, 44))
    strip.ellipse(x, 56 - height / 2, 6, height / 2, (38, 82, 46))
    strip.ellipse(x - 2, 55 - height / 2, 3, height / 2.6, (72, 122, 62))


def _farm(strip: Strip, x: float) -> None:
    strip.box(x - 15, 44, x + 15, 60, (240, 216, 172))
    strip.polygon([(x - 18, 45), (x - 12, 34), (x + 12, 34), (x + 18, 45)], (202, 96, 62))
    for left in (x - 11, x + 5):
        strip.box(left, 48, left + 6, 55, (88, 104, 140))


def reef(strip: Strip) -> None:
    """Corals on the sea floor and fish in sunlit water."""
    rng = strip.rng
    clear = [(0, (120, 226, 236)), (40, (30, 150, 214)), (110, (10, 62, 142))]
    green = [(0, (150, 236, 220)), (40, (30, 170, 190)), (110, (8, 84, 120))]
    _sky(strip, clear, green)
    ray = np.interp(strip.x[None, :] + 0.35 * strip.y, strip.x, np.clip(strip.curve(26) * 2 - 0.6, 0, 1))
    strip.paint(np.float32((220, 255, 250)), 0.4 * ray * np.clip(1 - strip.y / 90, 0, 1))
    strip.below(98 + 4 * strip.curve(60), [(94, (36, 96, 150)), (112, (40, 84, 128))])
    far = rng.uniform(9, 16)
    for x in strip.along(16, 0.4):
        _branch(strip, (x, 106), 0.0, far, strip.pick([(60, 70, 150), (88, 64, 150), (30, 110, 150)], 8))
    for x in strip.along(rng.uniform(24, 70)):
        _fish(strip, x, rng.uniform(16, 74))
    shares = rng.dirichlet((1.2, 1.2, 1.2))
    for x in strip.along(rng.uniform(20, 36), 0.4):
        kind = rng.choice(3, p=shares)
        (_brain, _coral, _tubes)[kind](strip, x, rng.uniform(106, 114))
    strip.below(115 + 3 * strip.curve(40), [(110, (246, 222, 168)), (128, (208, 172, 120))])


def _branch(strip: Strip, root: Point, angle: float, length: float, colour: Colour) -> None:
    tip = (root[0] + length * np.sin(angle), root[1] - length * np.cos(angle))
    strip.line([root, tip], max(2.6, length * 0.34), colour)
    strip.ellipse(*tip, max(1.6, length * 0.19), max(1.6, length * 0.19), colour)
    if length > 7:
        for turn in (-0.55, 0.5):
            _branch(strip, tip, angle + turn + strip.rng.uniform(-0.15, 0.15), length * 0.74, colour)


def _coral(strip: Strip, x: float, y: float) -> None:
    colour = strip.pick([(255, 106, 120), (255, 150, 60), (246, 90, 190), (255, 206, 70)], 8)
    _branch(strip, (x, y + 6), 0.0, strip.rng.uniform(13, 16), colour)


def _brain(strip: Strip, x: float, y: float) -> None:
    radius = strip.rng.uniform(10, 15)
    colour = strip.pick([(236, 92, 60), (196, 74, 200), (244, 176, 60), (110, 200, 120)], 8)
    strip.ellipse(x, y, radius, radius, mix(colour, (40, 20, 80), 0.4))
    strip.ellipse(x - radius * 0.12, y - radius * 0.12, radius * 0.85, radius * 0.85, colour)
    strip.ellipse(x - radius * 0.35, y - radius * 0.4, radius * 0.34, radius * 0.28, mix(colour, (255, 255, 255), 0.5))


def _tubes(strip: Strip, x: float, y: float) -> None:
    colour = strip.pick([(255, 214, 80), (190, 110, 230), (90, 220, 190)], 8)
    for shift, height in zip((-8, 8, 0), strip.rng.uniform(12, 26, 3), strict=True):
        strip.box(x + shift - 3.8, y - height, x + shift + 3.8, y + 8, mix(colour, (30, 20, 80), 0.1 * (shift > 0)))
        strip.ellipse(x + shift, y - height, 3.8, 2.2, mix(colour, (40, 10, 60), 0.6))


def _fish(strip: Strip, x: float, y: float) -> None:
    size, way = strip.rng.uniform(8, 11), strip.rng.choice((-1.0, 1.0))
    body = strip.pick([(255, 140, 30), (255, 214, 50), (250, 80, 90), (244, 244, 250)], 6)
    tail = [(x - way * size * 0.7, y), (x - way * size * 1.6, y - size * 0.6), (x - way * size * 1.6, y + size * 0.6)]
    strip.polygon(tail, mix(body, (120, 30, 20), 0.3))
    strip.ellipse(x, y, size, size * 0.6, body)
    strip.box(x - size * 0.2, y - size * 0.52, x + size * 0.14, y + size * 0.52, mix(body, (255, 255, 255), 0.75))
    strip.ellipse(x + way * size * 0.58, y - size * 0.12, 1.6, 1.6, (20, 20, 40))


SCENES: dict[str, Callable[[Strip], None]] = {
    "canyon": canyon,
    "city": city,
    "reef": reef,
    "beach": beach,
    "dunes": dunes,
    "forest": forest,
    "town": town,
    "lake": lake,
    "great_wall": great_wall,
    "lavender": lavender,
    "twilight": twilight,
}


def draw_strip(scene: str, seed: int, width: int = 1024) -> np.ndarray:
    """Draw one strip of a scene.

    Args:
        scene: a key of :data:`SCENES`.
        seed: what tells this strip from the others of the scene; the same seed gives the same strip.
        width: pixels along the strip.

    Returns:
        uint8 [128, width, 3].

    Raises:
        KeyError: for an unknown scene.
    """
    paint = SCENES[scene]
    strip = Strip(np.random.default_rng((seed, list(SCENES).index(scene))), width)
    paint(strip)
    return strip.finish()


def draw_pool(strips: int, width: int, first_seed: int = 0) -> np.ndarray:
    """Return ``strips`` strips of every scene, uint8 [scenes, strips, 128, width, 3], scenes as in ``SCENES``."""
    seeds = range(first_seed, first_seed + strips)
    return np.stack([np.stack([draw_strip(scene, seed, width) for seed in seeds]) for scene in SCENES])
