"""Ten kinds of panoramas, drawn procedurally as functions of direction, and what cameras see of them.

Nothing in a panorama depends on the azimuth but suns, moons and the places of things, so that any turn of it is as good
a picture of the scene as any other.
"""

from collections.abc import Callable

import numpy as np

from training.drawing import panorama_nature, panorama_places
from training.drawing.spheres import HEIGHT, Sphere
from utils.sphere import Camera, look

VIEW_SIZE = 128
PITCHES = {"": 0.0, "looking up": 50.0, "looking down": -50.0, "straight up": 90.0, "straight down": -90.0}
POSES = {"": 10, "looking up": 7, "looking down": 7, "straight up": 3, "straight down": 3}  # of a panorama

SCENES: dict[str, Callable[[Sphere], None]] = {
    "beach": panorama_nature.beach,
    "lavender": panorama_nature.lavender,
    "dunes": panorama_nature.dunes,
    "forest": panorama_nature.forest,
    "twilight": panorama_nature.twilight,
    "reef": panorama_nature.reef,
    "town": panorama_places.town,
    "city": panorama_places.city,
    "living_room": panorama_places.living_room,
    "library": panorama_places.reading_room,
}


def draw_panorama(scene: str, seed: int, height: int = HEIGHT) -> np.ndarray:
    """Draw one panorama of a scene.

    Args:
        scene: a key of :data:`SCENES`.
        seed: what tells this panorama from the others of the scene; the same seed gives the same panorama.
        height: in pixels; the width is twice that.

    Returns:
        uint8 [height, 2 * height, 3].

    Raises:
        KeyError: for an unknown scene.
    """
    paint = SCENES[scene]
    sphere = Sphere(np.random.default_rng((seed, list(SCENES).index(scene))), height)
    paint(sphere)
    return sphere.finish()


def draw_camera(direction: str, rng: np.random.Generator) -> Camera:
    """Return a camera that looks in a direction, a key of :data:`PITCHES`, jittered in pitch and field of view."""
    return Camera(rng.uniform(-180, 180), PITCHES[direction] + rng.uniform(-8, 8), rng.uniform(84, 96))


def draw_view(panorama: np.ndarray, camera: Camera, size: int = VIEW_SIZE) -> np.ndarray:
    """Return what a camera sees, drawn twice as large and averaged down, uint8 [size, size, C].

    Args:
        panorama: uint8 [H, 2H, C]; panoramas that one camera looks at may lie side by side in the last axis.
        camera: that looks.
        size: in pixels.
    """
    fine = look(panorama, camera, 2 * size)
    return (fine.reshape(size, 2, size, 2, -1).mean((1, 3)) + 0.5).astype(np.uint8)


def draw_views(seed: int, height: int = HEIGHT) -> np.ndarray:
    """Return what the cameras of :data:`POSES` see of one panorama of every scene.

    Returns:
        uint8 [poses, scenes, 128, 128, 3]; poses as in :func:`directions`, scenes as in ``SCENES``.
    """
    rng = np.random.default_rng((seed, len(SCENES)))
    panoramas = np.concatenate([draw_panorama(scene, seed, height) for scene in SCENES], axis=-1)
    views = np.stack([draw_view(panoramas, draw_camera(direction, rng)) for direction in directions()])
    return np.moveaxis(views.reshape(*views.shape[:3], len(SCENES), 3), 3, 1)


def directions() -> list[str]:
    """Return the direction of every pose."""
    return [direction for direction, count in POSES.items() for _ in range(count)]
