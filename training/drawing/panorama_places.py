"""Panoramas among houses and indoors: a medieval town, a city at night, a living room and a library."""

import numpy as np

from training.drawing.spheres import Lying, Plane, Sphere, Spot
from training.drawing.strips import Colour, mix

BOOKS = ((176, 44, 40), (40, 92, 62), (38, 62, 120), (206, 156, 60), (120, 50, 92), (226, 208, 170), (84, 52, 36))


def town(sphere: Sphere) -> None:
    """Gabled timber houses and towers around a cobbled square."""
    rng = sphere.rng
    sphere.dome([(0, (255, 238, 200)), (18, (206, 226, 220)), (50, (92, 178, 204)), (90, (44, 140, 180))])
    sphere.clouds((255, 232, 206), rng.uniform(0.25, 0.45), 0.7, 0.8)
    sphere.skyline(8 + 5 * sphere.curve(9, 2), (124, 164, 118))
    for azimuth in sphere.around(6):
        _spire(sphere, Spot(azimuth, rng.uniform(9, 11)))
    for azimuth in sphere.around(18, 0.2):
        _house(sphere, Spot(azimuth, rng.uniform(7.6, 8.4)), rng.uniform(2.2, 3.2), 1.4, 0.3)
    for azimuth in sphere.around(13, 0.12):
        _house(sphere, Spot(azimuth, rng.uniform(4.6, 5.2)), rng.uniform(1.3, 2.0), 1.0, 0.0)
    plane = Plane(sphere)
    along, across, keys = plane.rings(0.22, 1.25)
    stones = np.asarray((168, 152, 140)) + (keys[..., None] - 0.5) * np.asarray((70, 60, 50))
    gap = np.clip((np.abs(along) ** 4 + np.abs(across) ** 4 - 0.62) * 5, 0, 1)
    near = plane.fade(0.3)[..., None]
    seen = stones - (keys[..., None] > 0.9) * np.asarray((30, 60, 70))
    seen = seen * (1 - gap[..., None]) + gap[..., None] * np.asarray((74, 64, 64))
    plane.paint(seen * near + (1 - near) * np.asarray((150, 136, 126)), plane.reach < 4.7)
    plane.paint((118, 108, 104), (plane.reach >= 4.4) & (plane.reach < 4.7))


def _spire(sphere: Sphere, spot: Spot) -> None:
    top = sphere.rng.uniform(3.4, 5)
    sphere.box(spot, -0.9, -1, 0, top, (208, 194, 166))
    sphere.box(spot, 0, -1, 0.9, top, (166, 148, 128))
    sphere.polygon(spot, [(-1.2, top), (0, top + 3.4), (1.2, top)], (66, 84, 126))
    sphere.polygon(spot, [(0, top + 3.4), (1.2, top), (0.1, top)], (44, 58, 96))
    sphere.box(spot, -0.3, top - 1.6, 0.3, top - 0.7, (54, 46, 54))


def _house(sphere: Sphere, spot: Spot, top: float, half: float, haze: float) -> None:
    pale = (220, 214, 200)
    wall = mix(sphere.pick([(248, 232, 196), (240, 206, 146), (234, 176, 146), (200, 216, 214)], 5), pale, haze)
    roof = mix(sphere.pick([(194, 64, 42), (170, 52, 42), (210, 92, 50)], 6), pale, haze * 0.6)
    beam, glass = mix((94, 58, 40), pale, haze), mix((58, 72, 106), pale, haze)
    sphere.box(spot, -half, -1, half, top, wall)
    middle = (top - 1) / 2
    for left in (-half, half - 0.14):
        sphere.box(spot, left, -1, left + 0.14, top, beam)
    sphere.box(spot, -half, middle - 0.06, half, middle + 0.06, beam)
    for left in (-0.66 * half, 0.2 * half):
        sphere.box(spot, left, middle + 0.35, left + half * 0.46, top - 0.25, glass)
    sphere.box(spot, -0.66 * half, -0.5, -0.2 * half, middle - 0.3, glass)
    sphere.box(spot, 0.15 * half, -1, 0.65 * half, middle - 0.25, beam)
    peak = top + half * 1.3
    sphere.polygon(spot, [(-half - 0.2, top - 0.05), (0, peak), (half + 0.2, top - 0.05)], roof)
    shade = mix(roof, (60, 10, 30), 0.3)
    sphere.polygon(spot, [(0, peak), (half + 0.2, top - 0.05), (0.2, top - 0.05)], shade)


def city(sphere: Sphere) -> None:
    """Skyscrapers with lit windows around a lake at night, which mirrors them."""
    rng = sphere.rng
    sphere.dome([(0, (150, 76, 126)), (14, (74, 42, 110)), (45, (16, 16, 62)), (90, (8, 8, 40))])
    sphere.stars(0.5, 0.018)
    if rng.uniform() < 0.8:
        sphere.disc(Spot(rng.uniform(0, 6.3), 1, rng.uniform(0.6, 1.1)), 0.1, (226, 226, 236), 0.25)
    for azimuth in sphere.around(40):
        half, top = rng.uniform(0.7, 1.2), rng.uniform(2, 6.5)
        sphere.box(Spot(azimuth, 13), -half, -1, half, top, sphere.pick([(54, 44, 106), (66, 52, 118)], 5))
    for azimuth in sphere.around(27, 0.25):
        _tower_block(sphere, Spot(azimuth, 9))
    for azimuth in sphere.around(3, 0.2):
        sphere.box(Spot(azimuth, 8.8), -20, -0.3, 20, 0, (236, 172, 88))
    _water(sphere)


def _tower_block(sphere: Sphere, spot: Spot) -> None:
    rng = sphere.rng
    columns, top = int(rng.integers(2, 5)), rng.uniform(1.4, 7)
    half = columns * 0.3 + 0.15
    wall = sphere.pick([(16, 18, 46), (26, 22, 56), (18, 30, 62)], 4)
    roof = rng.integers(4)
    if roof == 0:
        sphere.polygon(spot, [(-half, top), (0, top + 1.2), (half, top)], wall)
    elif roof == 1:
        sphere.box(spot, -half / 2, top, half / 2, top + 0.6, wall)
        sphere.box(spot, -0.06, top, 0.06, top + 1.6, wall)
    sphere.box(spot, -half, -1, half, top, wall)
    sphere.box(spot, -half, -1, -half + 0.12, top, mix(wall, (120, 130, 200), 0.5))
    light = sphere.pick([(255, 220, 120), (255, 200, 96), (255, 236, 170), (170, 214, 255)], 5)
    for left in -half + 0.27 + 0.6 * np.arange(columns):
        for row in np.arange(top - 0.75, 0.0, -0.66):
            if rng.uniform() < 0.64:
                sphere.box(spot, left, row, left + 0.36, row + 0.42, light)


def _water(sphere: Sphere) -> None:
    """Mirror the upper half in the lower one, in ripples that are fine far off and broad below."""
    plane, half = Plane(sphere), sphere.height // 2
    upper = np.asarray(sphere.image, np.float32)[:half]
    swell = plane.noise(0.6, 2) - 0.5
    shift = np.round(swell * 40 * np.clip(plane.reach / 4, 0.3, 1)).astype(int)
    rows = np.clip(half - 1 - np.arange(half)[:, None] + shift, 0, half - 1)
    mirrored = upper[rows, np.arange(sphere.width)[None, :]]
    plane.paint(mirrored * 0.6 + np.asarray((8, 96, 132)) * 0.4)
    crest = np.sin(2 * np.pi * 5 * plane.noise(0.7, 2))
    plane.paint((84, 178, 206), 0.55 * np.clip(crest * 3 - 1.6, 0, 1) * plane.fade(0.3))
    glints, keys = plane.scatter(0.3, 0.16)
    plane.paint((255, 214, 120), glints * (keys < 0.22) * (crest > -0.2))


def living_room(sphere: Sphere) -> None:
    """Four walls with a window, a sofa, shelves and a fireplace, a rug and a lamp."""
    rng = sphere.rng
    turn, wide, high = rng.uniform(0, 2 * np.pi), rng.uniform(1.9, 2.3), rng.uniform(0.75, 0.9)
    floor, ceiling = Plane(sphere), Plane(sphere, high)
    _planks(floor, turn)
    _rug(floor)
    ceiling.paint(ceiling.mixed([(0, (255, 246, 214)), (1.6, (240, 226, 204)), (3, (226, 208, 186))]))
    _lamp(ceiling)
    tone = sphere.pick([(248, 222, 170), (170, 214, 208), (240, 196, 178), (206, 220, 170)], 6)
    furnish = [_window, _sofa, _shelf, _fireplace]
    for side, place in enumerate(rng.permutation(4)):
        spot = Spot(turn + side * np.pi / 2, wide)
        sphere.box(spot, -wide, -1, wide, high, mix(tone, (120, 80, 60), 0.07 * side))
        sphere.box(spot, -wide, high - 0.07, wide, high, (252, 246, 236))
        sphere.box(spot, -wide, -1, wide, -0.88, (250, 242, 230))
        furnish[place](sphere, spot)
    for side in range(4):
        if rng.uniform() < 0.6:
            _plant(sphere, Spot(turn + (side + 0.5) * np.pi / 2, wide * 1.15))


def _planks(plane: Plane, turn: float) -> None:
    x = plane.places[..., 0] * np.cos(turn) - plane.places[..., 1] * np.sin(turn)
    z = plane.places[..., 0] * np.sin(turn) + plane.places[..., 1] * np.cos(turn)
    board, tones = np.floor(x / 0.26), plane.sphere.rng.random(64, np.float32)
    piece = np.floor(z / 1.5 + tones[board.astype(int) % 64] * 7)
    tone = tones[(board * 7 + piece * 3).astype(int) % 64]
    wood = np.asarray((196, 134, 78)) + (tone[..., None] - 0.5) * np.asarray((56, 48, 36))
    plane.paint(wood)
    plane.paint((116, 70, 40), 0.8 * (np.abs(x / 0.26 % 1 - 0.5) > 0.44) * plane.fade(0.1))


def _rug(plane: Plane) -> None:
    """A round rug below the viewer, in rings."""
    sphere = plane.sphere
    size = sphere.rng.uniform(0.85, 1.15)
    main = sphere.pick([(200, 40, 48), (176, 34, 70), (214, 70, 40)], 8)
    for part, colour in ((1.0, mix(main, (40, 10, 20), 0.4)), (0.93, main), (0.72, (250, 224, 160)),
                         (0.62, mix(main, (40, 10, 40), 0.2)), (0.3, (250, 224, 160)), (0.2, main)):  # fmt: skip
        plane.paint(colour, np.clip((size * part - plane.reach) * 60, 0, 1))
    for azimuth in np.arange(12) * np.pi / 6 + sphere.rng.uniform(0, 1):
        points = [(0, 0.09), (0.05, 0), (0, -0.09), (-0.05, 0)]
        sphere.polygon(Lying(azimuth, size * 0.46), points, (255, 240, 200))


def _lamp(plane: Plane) -> None:
    """A round lamp above the viewer within a ring of stucco."""
    size = plane.sphere.rng.uniform(0.2, 0.26)
    plane.paint((255, 240, 170), 0.7 * np.exp(-((plane.reach / (2.4 * size)) ** 2)))
    for reach, wide in ((0.5, 0.035), (0.6, 0.015)):
        plane.paint((214, 188, 156), np.clip((wide - np.abs(plane.reach - reach)) * 60, 0, 1))
    shade = plane.sphere.pick([(240, 150, 50), (226, 96, 60), (250, 190, 70)], 6)
    plane.paint(shade, np.clip((size - plane.reach) * 60, 0, 1))
    plane.paint((255, 252, 226), np.clip((size * 0.66 - plane.reach) * 60, 0, 1))


def _window(sphere: Sphere, spot: Spot) -> None:
    sphere.box(spot, -0.85, -0.45, 0.85, 0.55, (255, 252, 246))
    for left in (-0.77, 0.05):
        sphere.box(spot, left, -0.37, left + 0.72, 0.47, (120, 190, 246))
        sphere.box(spot, left, -0.37, left + 0.72, -0.15, (110, 176, 84))
        sphere.ellipse(spot, (left + 0.36, 0.2), (0.2, 0.08), (250, 252, 255))
    curtain = sphere.pick([(66, 110, 186), (196, 70, 80), (90, 150, 110)], 8)
    for left in (-1.2, 0.8):
        for fold in range(4):
            tone = mix(curtain, (20, 20, 50), 0.25 * (fold % 2))
            sphere.box(spot, left + fold * 0.1, -0.9, left + fold * 0.1 + 0.1, 0.62, tone)
    sphere.box(spot, -1.3, 0.6, 1.3, 0.66, (110, 70, 44))


def _sofa(sphere: Sphere, spot: Spot) -> None:
    colour = sphere.pick([(40, 120, 130), (54, 84, 160), (90, 136, 66), (216, 120, 50)], 8)
    sphere.box(spot, -0.55, 0.02, 0.55, 0.6, (120, 78, 44))
    sphere.box(spot, -0.47, 0.1, 0.47, 0.52, sphere.pick([(250, 190, 120), (150, 196, 230)], 8))
    sphere.polygon(spot, [(-0.4, 0.12), (-0.1, 0.4), (0.1, 0.22), (0.25, 0.36), (0.45, 0.12)], (70, 100, 130))
    front = Spot(spot.azimuth, spot.distance * 0.82)
    dark = mix(colour, (10, 10, 40), 0.3)
    sphere.box(front, -1.05, -0.92, 1.05, -0.3, colour)
    sphere.box(front, -1.05, -0.92, 1.05, -0.62, dark)
    for left in (-1.0, 0.04):
        sphere.box(front, left, -0.66, left + 0.96, -0.52, mix(colour, (255, 255, 255), 0.25))
    for left in (-1.2, 1.0):
        sphere.box(front, left, -0.94, left + 0.2, -0.44, mix(colour, (0, 0, 30), 0.15))
    for middle in (-0.72, 0.72):
        cushion = sphere.pick([(250, 210, 90), (236, 90, 80), (246, 240, 226)], 6)
        sphere.polygon(
            front,
            [(middle - 0.2, -0.52), (middle - 0.17, -0.2), (middle + 0.19, -0.22), (middle + 0.2, -0.52)],
            cushion,
        )


def _shelf(sphere: Sphere, spot: Spot) -> None:
    rng = sphere.rng
    sphere.box(spot, -0.9, -1, 0.9, 0.55, (120, 74, 42))
    for bottom in (-0.92, -0.55, -0.18, 0.19):
        sphere.box(spot, -0.84, bottom, 0.84, bottom + 0.31, (70, 42, 28))
        left = -0.82
        while left < 0.72:
            wide, tall = rng.uniform(0.07, 0.13), rng.uniform(0.2, 0.29)
            sphere.box(spot, left, bottom, left + wide, bottom + tall, sphere.pick(BOOKS, 8))
            left += wide + (rng.uniform(0.1, 0.3) if rng.uniform() < 0.12 else 0.0)


def _fireplace(sphere: Sphere, spot: Spot) -> None:
    stone = sphere.pick([(150, 74, 58), (150, 140, 132)], 6)
    sphere.box(spot, -0.8, -1, 0.8, -0.1, stone)
    for row in range(6):
        bottom = -0.98 + row * 0.15
        for left in np.arange(-0.8, 0.75, 0.32) + 0.16 * (row % 2):
            tone = mix(stone, sphere.pick([(230, 180, 150), (90, 50, 44)], 5), 0.3)
            sphere.box(spot, left + 0.02, bottom, min(left + 0.3, 0.8), bottom + 0.12, tone)
    sphere.box(spot, -0.92, -0.14, 0.92, -0.04, (110, 68, 40))
    sphere.box(spot, -0.42, -0.96, 0.42, -0.3, (36, 24, 26))
    for middle, tall in ((-0.2, 0.34), (0.02, 0.48), (0.22, 0.3)):
        for part, colour in ((1.0, (246, 110, 30)), (0.6, (255, 214, 80))):
            wide, top = 0.16 * part, -0.94 + tall * part
            sphere.polygon(spot, [(middle - wide, -0.94), (middle, top), (middle + wide, -0.94)], colour)
    sphere.ellipse(spot, (0, 0.3), (0.3, 0.24), (214, 170, 80))
    sphere.ellipse(spot, (0, 0.3), (0.24, 0.18), (200, 226, 236))


def _plant(sphere: Sphere, spot: Spot) -> None:
    sphere.polygon(spot, [(-0.2, -0.55), (0.2, -0.55), (0.14, -1), (-0.14, -1)], (206, 110, 66))
    for angle in np.linspace(0.2, np.pi - 0.2, 8) + sphere.rng.uniform(-0.1, 0.1, 8):
        tip, side = np.array([np.cos(angle), np.sin(angle)]) * 0.62, np.array([-np.sin(angle), np.cos(angle)]) * 0.1
        root = np.array([0, -0.55])
        points = np.stack([root, root + tip * 0.5 + side, root + tip, root + tip * 0.5 - side])
        sphere.polygon(spot, points.tolist(), sphere.pick([(46, 130, 66), (70, 160, 76), (34, 104, 60)], 6))


def reading_room(sphere: Sphere) -> None:
    """A round reading room: shelves full of books under a glass dome, and a carpet with a star."""
    rng = sphere.rng
    wide, high = rng.uniform(2.2, 2.6), rng.uniform(1.5, 1.8)
    floor = Plane(sphere)
    along, across, keys = floor.rings(0.3, 2.4)
    gap = np.maximum(np.abs(along) > 0.94, np.abs(across) > 0.86)
    wood = np.asarray((150, 92, 50)) + (keys[..., None] - 0.5) * 50
    floor.paint(np.where(gap[..., None], (84, 48, 30), wood))
    _carpet(floor)
    _glass_dome(Plane(sphere, high), wide)
    _book_wall(sphere, wide, high)
    for azimuth in sphere.around(12, 0.0):
        spot = Spot(azimuth, wide)
        sphere.box(spot, -0.09, -1, 0.09, high, (134, 84, 46))
        sphere.box(spot, -0.03, -1, 0.03, high, (176, 118, 66))
    for azimuth in sphere.around(2, 0.3):
        _ladder(sphere, Spot(azimuth, wide * 0.95), high)
    for azimuth in sphere.around(3, 0.25):
        _desk(sphere, Spot(azimuth, wide * 0.72))


def _carpet(plane: Plane) -> None:
    """A round green carpet with a golden star."""
    sphere = plane.sphere
    size = sphere.rng.uniform(0.9, 1.15)
    main, gold = sphere.pick([(24, 106, 70), (20, 92, 84), (34, 84, 56)], 6), (232, 186, 76)
    for part, colour in ((1.0, mix(main, (0, 20, 10), 0.4)), (0.92, gold), (0.86, main)):
        plane.paint(colour, np.clip((size * part - plane.reach) * 60, 0, 1))
    turn = (plane.bearing + sphere.rng.uniform(0, 6.3)) * 8 / (2 * np.pi) % 1
    edge = size * (0.28 + 0.5 * np.abs(turn * 2 - 1) ** 1.6)
    plane.paint(np.where((turn < 0.5)[..., None], gold, (180, 130, 44)), np.clip((edge - plane.reach) * 60, 0, 1))
    plane.paint(main, np.clip((0.16 * size - plane.reach) * 60, 0, 1))


def _glass_dome(plane: Plane, wide: float) -> None:
    """A ceiling of golden coffers around a window of twelve panes."""
    along, across, keys = plane.rings(0.42, 1.1)
    frame = np.maximum(np.abs(along) > 0.74, np.abs(across) > 0.74)[..., None]
    inner = np.asarray((120, 62, 44)) + (keys[..., None] - 0.5) * 30
    plane.paint(np.where(frame, np.asarray((226, 180, 104)), inner))
    size = plane.sphere.rng.uniform(0.42, 0.5) * wide
    plane.paint((250, 224, 150), np.clip((size + 0.08 - plane.reach) * 40, 0, 1))
    sky = plane.mixed([(0, (226, 244, 255)), (size, (130, 196, 246))])
    plane.paint(sky, np.clip((size - plane.reach) * 40, 0, 1))
    turn = (plane.bearing * 12 / (2 * np.pi) + plane.sphere.rng.uniform()) % 1
    bar = np.minimum(turn, 1 - turn) * 2 * np.pi * plane.reach / 12
    for far in (bar, np.abs(plane.reach - size * 0.55), plane.reach - size * 0.1):
        plane.paint((126, 84, 48), np.clip((0.035 - far) * 50, 0, 1) * (plane.reach < size))


def _book_wall(sphere: Sphere, wide: float, high: float) -> None:
    """Shelves from the floor to the ceiling, a row of books in each."""
    rng = sphere.rng
    level = wide * np.tan(np.deg2rad(sphere.elevation))
    wall = (level > -1) & (level < high)
    sphere.paint((92, 56, 34), np.broadcast_to(wall, (sphere.height, sphere.width)).astype(np.float32))
    rows, colours = round((high + 1) / 0.42), np.asarray(BOOKS, np.float64)
    step = (high + 1) / rows
    turn = sphere.azimuths / (2 * np.pi) % 1
    for row in range(rows):
        bounds = np.cumsum(rng.uniform(0.6, 1.4, 150))
        book = np.searchsorted(bounds / bounds[-1], turn)
        shade = rng.uniform(-16, 16, 150)[book][:, None]
        tones = colours[rng.integers(len(colours), size=150)][book] + shade
        bottom = -1 + row * step + 0.07
        top = bottom + (step - 0.1) * rng.uniform(0.66, 0.98, 150)[book]
        sphere.paint((44, 26, 20), ((level > bottom) & (level < bottom + step - 0.08)) * np.ones(sphere.width))
        sphere.paint(tones[None], ((level > bottom) & (level < top)).astype(np.float32))


def _ladder(sphere: Sphere, spot: Spot, high: float) -> None:
    for left in (-0.22, 0.16):
        sphere.box(spot, left, -1, left + 0.06, high * 0.8, (222, 168, 96))
    for row in np.arange(-0.85, high * 0.75, 0.26):
        sphere.box(spot, -0.2, row, 0.2, row + 0.05, (222, 168, 96))


def _desk(sphere: Sphere, spot: Spot) -> None:
    wood: Colour = (104, 58, 34)
    for left in (-0.55, 0.45):
        sphere.box(spot, left, -1.02, left + 0.1, -0.5, mix(wood, (0, 0, 0), 0.3))
    sphere.box(spot, -0.65, -0.56, 0.65, -0.46, mix(wood, (240, 190, 130), 0.3))
    sphere.box(spot, -0.03, -0.46, 0.03, -0.18, (222, 180, 80))
    sphere.polygon(spot, [(-0.24, -0.2), (-0.16, -0.06), (0.16, -0.06), (0.24, -0.2)], (30, 150, 90))
    sphere.ellipse(spot, (0, -0.22), (0.2, 0.04), (255, 246, 190))
    sphere.box(spot, 0.25, -0.46, 0.5, -0.4, sphere.pick(BOOKS, 6))
