"""Panoramas out of doors: a beach, a lavender field, a desert, a clearing, mountains and a reef."""

import numpy as np

from training.drawing.spheres import Lying, Plane, Sphere, Spot
from training.drawing.strips import Colour, Point, mix


def beach(sphere: Sphere) -> None:
    """A small island with palms, in the glow of sunrise."""
    rng = sphere.rng
    glow = rng.uniform(-14, 14)
    sphere.dome([(0, (255, 226, 132)), (7, (255, 168 + glow, 120)), (24, (222, 146, 188 + glow)),
                 (52, (116, 136, 212)), (90, (84, 106, 200))])  # fmt: skip
    sphere.clouds((255, 190, 176), rng.uniform(0.2, 0.4))
    if rng.uniform() < 0.7:
        sphere.disc(Spot(rng.uniform(0, 6.3), 1, rng.uniform(0.12, 0.3)), 0.08, (255, 240, 170), 0.5)
    plane = Plane(sphere)
    plane.paint(plane.mixed([(3, (120, 224, 212)), (6, (40, 160, 182)), (25, (96, 150, 190)), (200, (250, 196, 130))]))
    swell = np.sin(2 * np.pi * (1.1 * np.sqrt(plane.reach * 4) + 1.2 * plane.noise(2.5)))
    plane.paint((255, 244, 220), 0.5 * np.clip(swell * 3 - 1.8, 0, 1) * np.clip((40 - plane.reach) / 30, 0, 1))
    for azimuth in sphere.around(3):
        _boat(sphere, Spot(azimuth, rng.uniform(11, 16)))
    edge = rng.uniform(2.6, 3.6) + 1.3 * (plane.noise(1.8) - 0.5)
    plane.paint((255, 252, 244), np.clip((edge + 0.35 - plane.reach) * 8, 0, 1))
    plane.paint((196, 148, 94), np.clip((edge - plane.reach) * 8, 0, 1))
    sand = np.asarray((250, 210, 130)) + 46 * (plane.noise(0.3, 3) - 0.5)[..., None]
    plane.paint(sand, np.clip((edge - 0.3 - plane.reach) * 4, 0, 1))
    shells, keys = plane.scatter(0.34, 0.13)
    plane.paint(
        np.where((keys < 0.15)[..., None], (250, 130, 120), (255, 250, 240)),
        shells * (keys < 0.34) * (plane.reach < edge - 0.4),
    )
    for azimuth in sphere.around(4):
        _star(sphere, Lying(azimuth, rng.uniform(0.4, 1.3), rng.uniform(0.13, 0.19)))
    for azimuth in sphere.around(7):
        _palm(sphere, Spot(azimuth, rng.uniform(2.4, 3.4)))


def _boat(sphere: Sphere, spot: Spot) -> None:
    sphere.polygon(spot, [(-0.1, 2.4), (-0.1, -0.3), (-1.1, -0.3)], (255, 250, 240))
    sphere.polygon(spot, [(0.1, 2.7), (0.1, -0.3), (1.3, -0.3)], (240, 206, 196))
    sphere.polygon(spot, [(-1.4, -0.2), (1.4, -0.2), (0.9, -0.8), (-0.9, -0.8)], (124, 50, 44))


def _star(sphere: Sphere, lying: Lying) -> None:
    turn = sphere.rng.uniform(0, 6.3) + np.arange(10) * np.pi / 5
    size = np.where(np.arange(10) % 2, 0.42, 1.0)
    points = np.stack([size * np.cos(turn), size * np.sin(turn)], axis=-1)
    colour = sphere.pick([(232, 84, 62), (240, 130, 50), (214, 66, 110)])
    sphere.polygon(lying, points.tolist(), colour)
    sphere.polygon(lying, (points * 0.4).tolist(), mix(colour, (255, 240, 210), 0.45))


def _palm(sphere: Sphere, spot: Spot) -> None:
    rng = sphere.rng
    height, lean = rng.uniform(2.6, 3.8), rng.uniform(-0.7, 0.7)
    at = np.linspace(0, 1, 8)
    xs, ys = lean * at**1.6, -1 + height * at
    wide = 0.12 - 0.05 * at
    trunk = [*zip(xs - wide, ys, strict=True), *zip((xs + wide)[::-1], ys[::-1], strict=True)]
    sphere.polygon(spot, trunk, (104, 66, 44))
    sphere.polygon(spot, [(x + 0.05, y) for x, y in trunk[8:]] + trunk[8:][::-1], (150, 104, 66))
    for angle in np.deg2rad([-30, 5, 40, 90, 140, 175, 210]) + rng.uniform(-0.15, 0.15, 7):
        _frond(sphere, spot, (xs[-1], ys[-1]), angle, sphere.pick([(34, 104, 54), (24, 80, 50), (66, 136, 56)], 6))


def _frond(sphere: Sphere, spot: Spot, root: Point, angle: float, colour: Colour) -> None:
    reach = np.linspace(0, 1.25, 8)
    xs, ys = root[0] + np.cos(angle) * reach, root[1] + np.sin(angle) * reach - reach**2 * 0.55
    wide = 0.2 * np.sin(np.pi * np.linspace(0.08, 1, 8)) ** 0.7 + 0.02
    sphere.polygon(
        spot, [*zip(xs, ys + wide * 0.6, strict=True), *zip(xs[::-1], (ys - wide)[::-1], strict=True)], colour
    )


def lavender(sphere: Sphere) -> None:
    """Purple bushes in rows around a patch of grass, with hills, cypresses and farms."""
    rng = sphere.rng
    sphere.dome([(0, (236, 232, 226)), (14, (160, 204, 240)), (45, (84, 156, 232)), (90, (44, 116, 216))])
    sphere.clouds((255, 255, 255), rng.uniform(0.28, 0.5), 0.5)
    sphere.skyline(8 + 4 * sphere.curve(9, 3), (146, 168, 196))
    sphere.skyline(4.5 + 2.5 * sphere.curve(12, 2), (116, 160, 92))
    for azimuth in sphere.around(18):
        draw = _farm if rng.uniform() < 0.3 else _cypress
        draw(sphere, Spot(azimuth, rng.uniform(9, 13)))
    plane = Plane(sphere)
    plane.paint(plane.mixed([(2, (112, 132, 66)), (30, (120, 128, 96))]))
    blades, keys = plane.scatter(0.12, 0.3)
    plane.paint(np.where((keys < 0.5)[..., None], (142, 166, 70), (84, 118, 54)), blades)
    core = rng.uniform(0.48, 0.6)
    along, across, keys = plane.rings(core)
    bush = np.asarray((126, 64, 190)) + (keys[..., None] - 0.5) * 60
    far = np.clip(plane.reach / 14, 0, 1)[..., None]
    bush = bush * (1 - far) + np.asarray((142, 96, 196)) * far
    for size, colour in ((0.98, bush * 0.62), (0.84, bush), (0.5, bush * 0.7 + 60)):
        spread = np.hypot(along * plane.fade(1.2), across + (0.98 - size) * 0.4)
        plane.paint(colour, np.clip((size - spread) * 7, 0, 1) * (plane.reach > core))
    dots, keys = plane.scatter(0.07, 0.32)
    plane.paint((226, 190, 255), 0.8 * dots * (keys < 0.4) * (np.hypot(along, across) < 0.75) * (plane.reach > core))


def _cypress(sphere: Sphere, spot: Spot) -> None:
    top = sphere.rng.uniform(2.6, 4.2)
    sphere.box(spot, -0.12, -1, 0.12, 0.2, (86, 60, 44))
    sphere.ellipse(spot, (0, top / 2 - 0.3), (0.55, top / 2 + 0.3), (36, 84, 48))
    sphere.ellipse(spot, (-0.16, top / 2 - 0.2), (0.27, top / 2 - 0.2), (74, 128, 64))


def _farm(sphere: Sphere, spot: Spot) -> None:
    sphere.box(spot, -1.7, -1, 1.7, 0.7, (242, 218, 172))
    sphere.polygon(spot, [(-2.0, 0.6), (-1.3, 1.8), (1.3, 1.8), (2.0, 0.6)], (204, 92, 60))
    for left in (-1.2, 0.55):
        sphere.box(spot, left, -0.4, left + 0.65, 0.3, (86, 104, 146))


def dunes(sphere: Sphere) -> None:
    """Dunes with a bright and a dark side, and rippled sand."""
    rng = sphere.rng
    sphere.dome([(0, (252, 230, 184)), (10, (178, 212, 234)), (36, (58, 138, 224)), (90, (20, 84, 190))])
    if rng.uniform() < 0.75:
        sphere.disc(Spot(rng.uniform(0, 6.3), 1, rng.uniform(0.35, 0.9)), 0.09, (255, 238, 150), 0.6)
    plane = Plane(sphere)
    sand = np.asarray(mix((246, 192, 104), (240, 176, 92), rng.uniform()))
    plane.paint(sand)
    for distance, count, top, haze in ((17, 12, 5.6, 0.35), (11, 12, 2.6, 0.15), (7, 9, 0.9, 0.0)):
        for azimuth in sphere.around(count):
            _dune(sphere, Spot(azimuth, distance * rng.uniform(0.92, 1.08)), top * rng.uniform(0.5, 1.1), haze)
        base = np.clip(1 - np.abs(plane.reach - distance * 0.78) / (distance * 0.22), 0, 1)
        plane.paint(mix((226, 164, 84), (250, 226, 178), haze), 0.25 * base * (plane.reach > 5))
    near = np.clip((6.5 - plane.reach) / 1.5, 0, 1)
    plane.paint(sand, near)
    waves = np.sin(2 * np.pi * (rng.uniform(7, 9) * plane.noise(2.2) + 0.7 * plane.noise(0.5)))
    plane.paint((204, 138, 70), 0.8 * np.clip(waves * 1.4 - 0.2, 0, 1) * near * plane.fade(0.3))
    plane.paint((255, 228, 154), 0.8 * np.clip(-waves * 1.8 - 0.8, 0, 1) * near * plane.fade(0.3))
    stones, keys = plane.scatter(0.6, 0.1)
    plane.paint((138, 84, 54), stones * (keys < 0.3) * near)


def _dune(sphere: Sphere, spot: Spot, top: float, haze: float) -> None:
    lit = mix(sphere.pick([(244, 188, 98), (248, 198, 110)], 6), (250, 226, 178), haze)
    dark = mix(sphere.pick([(168, 100, 52), (178, 108, 58)], 5), (250, 226, 178), haze)
    half = spot.distance * sphere.rng.uniform(0.36, 0.5)
    at = np.linspace(0, 1, 12)
    ys = top + (-1.05 - top) * at**0.85 * (1 - 0.22 * np.sin(np.pi * at))
    left, right = [*zip(-half * 1.3 * at, ys, strict=True)], [*zip(half * at, ys, strict=True)]
    bend = sphere.rng.uniform(0.12, 0.28) * half
    ridge = [*zip(bend * np.sin(4.2 * at) * (0.4 + at), ys, strict=True)]
    sphere.polygon(spot, left + ridge[::-1], lit)
    sphere.polygon(spot, ridge + right[::-1], dark)


def forest(sphere: Sphere) -> None:
    """A clearing strewn with leaves between red and golden trees."""
    rng = sphere.rng
    sphere.dome([(0, (236, 226, 206)), (30, (170, 208, 236)), (90, (74, 150, 224))])
    sphere.clouds((250, 250, 246), rng.uniform(0.1, 0.3), 0.5, 0.7)
    plane = Plane(sphere)
    plane.paint(plane.mixed([(1, (124, 112, 48)), (6, (150, 96, 48)), (12, (176, 112, 56))]))
    colours = np.asarray([(204, 44, 34), (230, 104, 30), (244, 160, 40), (240, 196, 64), (150, 50, 36)], np.float64)
    for size in (0.3, 0.23, 0.27, 0.2):
        leaves, keys = plane.scatter(size, 0.32)
        plane.paint(colours[(keys * 5).astype(int) % 5], leaves * (keys * 7 % 1 < 0.75))
    for distance, count, middle, haze in ((10, 44, 2.2, 0.4), (6.6, 24, 2.6, 0.15), (4.2, 11, 3.0, 0.0)):
        for azimuth in sphere.around(count):
            spot = Spot(azimuth, distance * rng.uniform(0.9, 1.1))
            _tree(sphere, spot, middle + rng.uniform(-0.5, 0.6), distance * rng.uniform(0.2, 0.25) + 0.35, haze)


def _tree(sphere: Sphere, spot: Spot, middle: float, radius: float, haze: float) -> None:
    rng = sphere.rng
    far = (216, 170, 130)
    leaf = mix(sphere.pick([(204, 44, 34), (228, 98, 28), (242, 152, 34), (240, 188, 52), (176, 50, 36)], 8), far, haze)
    wide = radius * 0.13
    sphere.polygon(spot, [(-wide, middle), (wide, middle), (wide * 1.6, -1), (-wide * 1.6, -1)],
                   mix((78, 50, 38), far, haze))  # fmt: skip
    angles = np.linspace(0, 2 * np.pi, 7) + rng.uniform(0, 1)
    for shade, lift, size in ((0.28, 0.0, 0.6), (0.0, 0.16, 0.48)):
        for angle in angles:
            centre = (radius * (0.6 * np.cos(angle) - lift), middle + radius * (0.62 * np.sin(angle) + lift))
            sphere.ellipse(spot, centre, (radius * size, radius * size), mix(leaf, (70, 20, 24), shade))
    for _ in range(4):
        dx, dy = rng.uniform((-0.7, -0.2), (0.2, 0.7)) * radius
        sphere.ellipse(spot, (dx, middle + dy), (radius * 0.24, radius * 0.24), mix(leaf, (255, 230, 150), 0.45))


def twilight(sphere: Sphere) -> None:
    """Snowy peaks around a field of snow, under the first stars."""
    rng = sphere.rng
    glow = rng.uniform(-16, 16)
    sphere.dome([(0, (255, 214, 140)), (8, (255, 160 + glow, 98)), (22, (206, 92, 128 + glow)),
                 (44, (104, 54, 132)), (70, (44, 30, 92)), (90, (34, 24, 80))])  # fmt: skip
    sphere.stars(0.45)
    sphere.clouds((158, 68, 128), rng.uniform(0.15, 0.35), 0.5, 0.75)
    snow = Plane(sphere)
    drift = snow.noise(0.9) * 4 + rng.uniform()
    drift = np.clip((drift % 1) * 1.15, 0, 1)[..., None] * snow.fade(0.5)[..., None]
    snow.paint(np.asarray((232, 226, 252)) - drift * np.asarray((66, 70, 36)))
    for distance, count, low, high, faces in (
        (20, 15, 7, 13, ((132, 104, 164), (78, 58, 120))), (15, 17, 2.5, 5.5, ((86, 68, 128), (50, 40, 92)))
    ):  # fmt: skip
        for azimuth in sphere.around(count):
            spot = Spot(azimuth, distance * rng.uniform(0.95, 1.05))
            _peak(sphere, spot, rng.uniform(low, high), faces)
    snow.paint((212, 204, 240), np.clip((snow.reach - 9) / 4, 0, 1) * (snow.reach < 14))
    for azimuth in sphere.around(14):
        _rock(sphere, Lying(azimuth, rng.uniform(0.35, 1.6), rng.uniform(0.09, 0.2)))
    for azimuth in sphere.around(15):
        _pine(sphere, Spot(azimuth, rng.uniform(4, 8)))


def _rock(sphere: Sphere, lying: Lying) -> None:
    turn = np.linspace(0, 2 * np.pi, 7, endpoint=False) + sphere.rng.uniform(0, 1)
    size = sphere.rng.uniform(0.75, 1.1, 7)
    points = np.stack([size * np.cos(turn), size * np.sin(turn)], axis=-1)
    sphere.polygon(lying, points.tolist(), sphere.pick([(74, 58, 112), (96, 74, 132)], 6))
    sphere.polygon(lying, (points * 0.55 + (-0.15, 0.15)).tolist(), (238, 234, 255))


def _peak(sphere: Sphere, spot: Spot, top: float, faces: tuple[Colour, Colour]) -> None:
    rng = sphere.rng
    half, at = (top + 1) * rng.uniform(0.75, 1.05), np.linspace(0, 1, 7)
    ys = top + (-1 - top) * at
    lines = []
    for end in (-half, half * rng.uniform(-0.1, 0.3), half):
        rough = rng.uniform(-0.12, 0.12, 7) * half * np.sin(np.pi * at) ** 0.5
        lines.append([*zip(end * at + rough, ys, strict=True)])
    left, middle, right = lines
    sphere.polygon(spot, left + middle[::-1], faces[0])
    sphere.polygon(spot, middle + right[::-1], faces[1])
    if top > 6:
        hem = [((2 * left[2][0] + middle[2][0]) / 3, left[2][1] - 0.5), (middle[2][0], middle[2][1] + 0.4)]
        sphere.polygon(spot, [*left[:3], *hem, *middle[1::-1]], (250, 246, 255))
        tip = ((middle[2][0] + right[2][0]) / 2, right[2][1] - 0.6)
        sphere.polygon(spot, [*middle[:3], tip, *right[2::-1]], (182, 178, 226))


def _pine(sphere: Sphere, spot: Spot) -> None:
    height = sphere.rng.uniform(1.6, 3.0)
    sphere.box(spot, -0.08, -1, 0.08, -0.6, (58, 38, 50))
    for level in range(3):
        low, half = -0.8 + height * level * 0.26, height * (0.3 - 0.07 * level)
        peak = (0, low + height * 0.48)
        sphere.polygon(spot, [(-half, low), peak, (half, low)], (44, 52, 92))
        sphere.polygon(
            spot, [(-half * 0.5, low + height * 0.24), peak, (half * 0.3, low + height * 0.24)], (230, 226, 248)
        )


def reef(sphere: Sphere) -> None:
    """Corals and fish under a bright surface."""
    rng = sphere.rng
    sphere.dome([(-30, (8, 52, 130)), (-4, (10, 66, 150)), (14, (22, 118, 200)), (42, (66, 200, 232)),
                 (70, (150, 240, 246)), (90, (190, 250, 250))])  # fmt: skip
    surface, floor = Plane(sphere, 2.2), Plane(sphere)
    net = 1 - np.abs(2 * surface.noise(0.75, 2) - 1) * 3.2
    surface.paint((250, 255, 255), 0.85 * np.clip(net * 1.5, 0, 1) * np.clip((5 - surface.reach) / 4, 0, 1))
    sphere.disc(Spot(rng.uniform(0, 6.3), 1, rng.uniform(0.9, 1.3)), 0.14, (250, 255, 240), 0.7)
    sand = np.asarray((244, 218, 160)) + (floor.noise(0.25, 2) - 0.5)[..., None] * 50
    floor.paint(sand, np.clip(1.35 - floor.reach / 4.2, 0, 1))
    net = 1 - np.abs(2 * floor.noise(0.4) - 1) * 4
    floor.paint((255, 252, 220), 0.5 * np.clip(net, 0, 1) * np.clip(1.3 - floor.reach / 3, 0, 1))
    for azimuth in sphere.around(9):
        _round(sphere, Lying(azimuth, rng.uniform(0.35, 1.1), rng.uniform(0.12, 0.22)))
    for azimuth in sphere.around(3):
        _star(sphere, Lying(azimuth, rng.uniform(0.4, 1.0), rng.uniform(0.12, 0.16)))
    for distance, count, haze in ((5.0, 26, 0.55), (3.2, 18, 0.2), (2.0, 9, 0.0)):
        for azimuth in sphere.around(count):
            draw = (_branches, _brain, _tubes)[rng.integers(3)]
            draw(sphere, Spot(azimuth, distance * rng.uniform(0.88, 1.12)), haze)
    for azimuth in sphere.around(26):
        _fish(sphere, Spot(azimuth, 1, rng.uniform(-0.25, 0.95), rng.uniform(0.09, 0.14)))


def _round(sphere: Sphere, lying: Lying) -> None:
    colour = sphere.pick([(236, 92, 60), (196, 74, 200), (244, 120, 160), (90, 190, 130)], 8)
    for size, part in ((1.0, 0.35), (0.84, 0.0), (0.5, 0.25), (0.24, 0.0)):
        tone = mix(colour, (40, 20, 80) if size == 1 else (255, 255, 255), part)
        sphere.ellipse(lying, (0, 0), (size, size), tone)


def _branches(sphere: Sphere, spot: Spot, haze: float) -> None:
    colour = sphere.pick([(255, 100, 120), (255, 150, 60), (246, 90, 190), (255, 206, 70)], 8)
    tone = mix(colour, (14, 84, 164), haze)
    size = sphere.rng.uniform(0.3, 0.42)
    _branch(sphere, spot, (0, -1.05), 0.0, size, tone)


def _branch(sphere: Sphere, spot: Spot, root: Point, angle: float, length: float, colour: Colour) -> None:
    (x, y), wide = root, length * 0.2
    tip = (x + length * np.sin(angle), y + length * np.cos(angle))
    across = (wide * np.cos(angle), -wide * np.sin(angle))
    sphere.polygon(
        spot,
        [
            (x - across[0], y - across[1]),
            (x + across[0], y + across[1]),
            (tip[0] + across[0], tip[1] + across[1]),
            (tip[0] - across[0], tip[1] - across[1]),
        ],
        colour,
    )
    sphere.ellipse(spot, tip, (wide * 1.1, wide * 1.1), colour)
    if length > 0.2:
        for turn in (-0.55, 0.5):
            _branch(sphere, spot, tip, angle + turn + sphere.rng.uniform(-0.15, 0.15), length * 0.76, colour)


def _brain(sphere: Sphere, spot: Spot, haze: float) -> None:
    radius, water = sphere.rng.uniform(0.3, 0.5), (14, 84, 164)
    colour = mix(sphere.pick([(236, 92, 60), (196, 74, 200), (244, 176, 60), (110, 200, 120)], 8), water, haze)
    sphere.ellipse(spot, (0, -0.9), (radius, radius), mix(colour, (30, 20, 80), 0.4))
    sphere.ellipse(spot, (-0.1 * radius, -0.9 + 0.1 * radius), (radius * 0.86, radius * 0.86), colour)
    light = mix(colour, (255, 255, 255), 0.5)
    sphere.ellipse(spot, (-0.35 * radius, -0.9 + 0.4 * radius), (radius * 0.32, radius * 0.26), light)


def _tubes(sphere: Sphere, spot: Spot, haze: float) -> None:
    water = (14, 84, 164)
    colour = mix(sphere.pick([(255, 214, 80), (190, 110, 230), (90, 220, 190)], 8), water, haze)
    for shift, height in zip((-0.24, 0.24, 0), sphere.rng.uniform(0.4, 0.9, 3), strict=True):
        sphere.box(spot, shift - 0.13, -1.05, shift + 0.13, height - 1, mix(colour, (20, 20, 80), 0.12 * (shift > 0)))
        sphere.ellipse(spot, (shift, height - 1), (0.13, 0.07), mix(colour, (40, 10, 60), 0.6))


def _fish(sphere: Sphere, spot: Spot) -> None:
    way = sphere.rng.choice((-1.0, 1.0))
    body = sphere.pick([(255, 140, 30), (255, 214, 50), (250, 80, 90), (244, 244, 250)], 6)
    sphere.polygon(spot, [(-way * 0.7, 0), (-way * 1.6, 0.6), (-way * 1.6, -0.6)], mix(body, (120, 30, 20), 0.3))
    sphere.ellipse(spot, (0, 0), (1, 0.6), body)
    sphere.box(spot, -0.2, -0.5, 0.14, 0.5, mix(body, (255, 255, 255), 0.75))
    sphere.ellipse(spot, (way * 0.58, 0.12), (0.17, 0.17), (20, 20, 40))
