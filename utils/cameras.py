"""Sets of cameras that look at a whole sphere, by name or from a file, and the directions that prompts speak of."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.files import is_file
from utils.sphere import Camera, canvas_directions

UP, STRAIGHT_UP = 25.0, 70.0  # degrees of pitch from which on a camera looks up, and straight up
LARGEST_FILE = 1_000_000  # bytes
MOST_CAMERAS = 1000
FIELDS = {"yaw": (-360.0, 360.0), "pitch": (-90.0, 90.0), "fov": (10.0, 150.0)}  # of a file, with what is allowed


def _ring(count: int, pitch: float, fov: float, first: float = 0.0) -> list[Camera]:
    return [Camera((first + 360 * index / count) % 360, pitch, fov) for index in range(count)]


VIEW_SETS = {
    "22": [*_ring(8, 0, 80), *_ring(6, 45, 80, 22.5), *_ring(6, -45, 80, 22.5), Camera(0, 90, 80), Camera(0, -90, 80)],
    "16": [*_ring(6, 0, 90), *_ring(4, 50, 90), *_ring(4, -50, 90), Camera(0, 90, 90), Camera(0, -90, 90)],
    "ring": _ring(8, 0, 80),
}
# between the cameras of every set: what a finished sphere is scored by
NOVEL = [Camera(22, 0, 75), Camera(112, 0, 75), Camera(202, 0, 75), Camera(292, 0, 75),
         Camera(20, 45, 75), Camera(200, 45, 75), Camera(20, -45, 75), Camera(200, -45, 75)]  # fmt: skip
CUBE = {"front": Camera(0, 0, 90), "right": Camera(90, 0, 90), "back": Camera(180, 0, 90), "left": Camera(270, 0, 90),
        "up": Camera(0, 90, 90), "down": Camera(0, -90, 90)}  # fmt: skip


def band_of(pitch: float) -> str:
    """Return where a camera looks: ``level``, ``up``, ``straight up``, ``down`` or ``straight down``."""
    if abs(pitch) < UP:
        return "level"
    word = "up" if pitch > 0 else "down"
    return f"straight {word}" if abs(pitch) >= STRAIGHT_UP else word


def read_cameras(name: str) -> list[Camera]:
    """Return a set of cameras by its name, or from a JSON file: a list of objects with yaw, pitch and fov in degrees.

    Raises:
        UserError: no such set or file, or a file that holds something else.
    """
    if name in VIEW_SETS:
        return VIEW_SETS[name]
    path = Path(name)
    wanted = f"give one of {', '.join(VIEW_SETS)}, or a JSON file with a list of yaw, pitch and fov"
    if not is_file(path):
        raise UserError(f"--view_set {name} is no set and no file: {wanted}.")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"--view_set {name} has {path.stat().st_size:,} bytes: give at most {LARGEST_FILE:,}.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # UTF-8 and JSON
        raise UserError(f"--view_set {name} is no JSON: {wanted}.") from error
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_CAMERAS:
        raise UserError(f"--view_set {name} holds no list of 1 to {MOST_CAMERAS} cameras: {wanted}.")
    return [_camera(name, number, row) for number, row in enumerate(rows, start=1)]


def _camera(name: str, number: int, row: Any) -> Camera:
    if not isinstance(row, dict) or row.keys() != FIELDS.keys():
        raise UserError(f"--view_set {name}: camera {number} must have yaw, pitch and fov, in degrees, and no more.")
    for field, (low, high) in FIELDS.items():
        value = row[field]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise UserError(
                f"--view_set {name}: {field} {value!r} of camera {number} is out of range: give {low:g} to {high:g}."
            )
    return Camera(float(row["yaw"]), float(row["pitch"]), float(row["fov"]))


def unseen_share(cameras: list[Camera], height: int) -> float:
    """Return the share of the sphere that no camera sees, measured at the cells of a canvas of so many rows."""
    directions = canvas_directions(height).reshape(-1, 3)
    area = np.hypot(directions[:, 0], directions[:, 2])
    return float(area[~_seen(cameras, directions)].sum() / area.sum())


def band_rows(cameras: list[Camera], height: int) -> tuple[int, int]:
    """Return the first row and the one after the last of the band around a canvas' middle that cameras see all of.

    Raises:
        ValueError: they do not see all around.
    """
    seen = _seen(cameras, canvas_directions(height).reshape(-1, 3))
    whole = np.all(seen.reshape(height, 2 * height), axis=1)
    if not whole[(height - 1) // 2 : height // 2 + 1].all():
        raise ValueError("the cameras do not see all around")
    gaps = np.flatnonzero(~whole)
    above, below = gaps[gaps < height // 2], gaps[gaps >= height // 2]
    return (int(above.max()) + 1 if len(above) else 0), (int(below.min()) if len(below) else height)


def _seen(cameras: list[Camera], directions: np.ndarray) -> np.ndarray:
    """Return which of unit directions ``[K, 3]`` some camera sees."""
    seen = np.zeros(len(directions), dtype=bool)
    for camera in cameras:
        (left,) = np.nonzero(~seen)
        seen[left[camera.sees(directions[left])[0]]] = True
    return seen
